//! What a word is: the same for what is indexed, for what is searched for, and for what is highlighted.
//!
//! A word is a run of letters and digits. Case, accents and the width of letters do not count. In scripts that put no
//! blanks between words every character is a word, and so is every emoji; a run of them is found as a phrase.

use std::ops::Range;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Of longer words only the beginning counts, in bytes: nobody types more, and data in letters costs no more.
pub(super) const MAX_WORD: usize = 64;

/// Calls `word` for every word of a text, in order: as it is compared, and where it stands.
pub(super) fn split(text: &str, word: impl FnMut(&str, Range<usize>)) {
    let mut splitter = Splitter {
        folded: String::new(),
        span: 0..0,
        word,
    };
    let mut start = 0;
    while let Some(character) = text[start..].chars().next() {
        let plain = text[start..]
            .bytes()
            .take_while(u8::is_ascii_alphanumeric)
            .count();
        let span = start..start + plain.max(character.len_utf8());
        start = span.end;
        if plain != 0 {
            splitter.extend_plainly(&text[span.clone()], span);
        } else if character.is_ascii() {
            splitter.end();
        } else if is_alone(character) {
            splitter.alone(character, span);
        } else {
            decompose_compatible(character, |part| splitter.take(part, &span));
        }
    }
    splitter.end();
}

/// The words of a text as they are compared, with a blank between each two.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    split(text, |word, _| {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    });
    folded
}

struct Splitter<F> {
    /// The word that is not over yet.
    folded: String,
    /// Where it stands.
    span: Range<usize>,
    word: F,
}

impl<F: FnMut(&str, Range<usize>)> Splitter<F> {
    /// Takes a part of a character that was taken apart.
    fn take(&mut self, part: char, span: &Range<usize>) {
        if is_passed_over(part) {
            return;
        }
        for character in part.to_lowercase() {
            match character {
                _ if is_passed_over(character) => {}
                // At the end of a word it is written in another way.
                'ς' => self.extend('σ', span.clone()),
                _ if is_alone(character) => self.alone(character, span.clone()),
                _ if character.is_alphanumeric() || is_combining_mark(character) => {
                    self.extend(character, span.clone());
                }
                _ => self.end(),
            }
        }
    }

    fn extend(&mut self, character: char, span: Range<usize>) {
        if self.folded.is_empty() {
            self.span.start = span.start;
        }
        self.span.end = span.end;
        if self.folded.len() + character.len_utf8() <= MAX_WORD {
            self.folded.push(character);
        }
    }

    /// Takes a run of ASCII letters and digits.
    fn extend_plainly(&mut self, run: &str, span: Range<usize>) {
        if self.folded.is_empty() {
            self.span.start = span.start;
        }
        self.span.end = span.end;
        let begin = self.folded.len();
        self.folded.push_str(&run[..run.len().min(MAX_WORD - begin)]);
        self.folded[begin..].make_ascii_lowercase();
    }

    fn alone(&mut self, character: char, span: Range<usize>) {
        self.end();
        self.extend(character, span);
        self.end();
    }

    fn end(&mut self) {
        if !self.folded.is_empty() {
            (self.word)(&self.folded, self.span.clone());
            self.folded.clear();
        }
    }
}

/// Whether a character is a word by itself: those of scripts without blanks, and emoji.
fn is_alone(character: char) -> bool {
    !is_passed_over(character)
        && matches!(character,
            // Thai, Lao; Myanmar; Khmer.
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            // Kana and Han, without their punctuation; the syllables of Hangul.
            | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{20000}'..='\u{2f7ff}' | '\u{30000}'..='\u{3ffff}'
            // Symbols and emoji.
            | '\u{2600}'..='\u{27bf}' | '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f300}'..='\u{1faff}')
}

/// Whether a character neither counts nor separates: accents, points that may be left out, and what cannot be seen.
fn is_passed_over(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' | '\u{3099}'..='\u{309a}'
        // Hebrew and Arabic.
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}' | '\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
        // Soft hyphens, joiners, variants, the colour of a skin.
        | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'
        | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(fold(text), expected, "{text}");
    }

    #[test]
    fn words_are_letters_and_digits_without_case_and_accents() {
        check("Hello, World! v2.0", "hello world v2 0");
        check(
            "don't snake_case e-mail@example.org",
            "don t snake case e mail example org",
        );
        check("Crème Brûlée, ÅNGSTRÖM, Việt", "creme brulee angstrom viet");
        check("cre\u{300}me", "creme");
        check("ΣΊΣΥΦΟΣ Σίσυφος", "σισυφοσ σισυφοσ");
        check("İstanbul ﬁne ＡＢＣ１２", "istanbul fine abc12");
        check("שָׁלוֹם مَرْحَبًا", "שלום مرحبا");
        check("हिन्दी", "हिन्दी");
        check("soft\u{ad}hyphen", "softhyphen");
        check(" \t\n…—", "");
    }

    #[test]
    fn scripts_without_blanks_and_emoji_have_a_word_a_character() {
        check("東京都へ行く", "東 京 都 へ 行 く");
        check("GitHubで公開", "github で 公 開");
        check("서울에서 만나요", "서 울 에 서 만 나 요");
        check("ｶﾅ カナ", "カ ナ カ ナ");
        check("สวัสดี", "ส ว ั ส ด ี");
        check("done🎉👍🏽!", "done 🎉 👍");
    }

    #[test]
    fn of_long_words_the_beginning_counts() {
        check(&"x".repeat(200), &"x".repeat(MAX_WORD));
        check(&"é".repeat(200), &"e".repeat(MAX_WORD));
    }

    proptest! {
        #[test]
        fn words_stand_where_they_are_said_to_and_folding_again_changes_nothing(text in "\\PC{0,60}") {
            let mut end = 0;
            split(&text, |word, span| {
                assert!(!word.is_empty() && word.len() <= MAX_WORD && !word.contains(' '), "{word:?}");
                assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
                assert!(span.start < span.end && end <= span.start + 4, "{span:?}");
                end = span.end;
            });
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }
    }
}

//! Texts as long and as varied as people's, the same for the same seed.

use crate::Dice;

/// Words that there are: some are in every other text, most in hardly any.
const WORDS: u64 = 60_000;

/// Writes texts.
#[derive(Clone, Debug)]
pub struct Prose(Dice);

impl Prose {
    /// The same seed writes the same texts.
    pub const fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    /// A text of about so many bytes.
    pub fn text(&mut self, bytes: usize) -> String {
        let mut text = self.word();
        while text.len() < bytes {
            text.push(' ');
            text.push_str(&self.word());
        }
        text
    }

    /// Small numbers are common: every doubling is as likely as the last.
    fn word(&mut self) -> String {
        let magnitude = 1 << self.0.roll(17);
        let mut number = self.0.roll(magnitude) % WORDS;
        let mut word = String::new();
        loop {
            for letters in ["bdfghklmnprstvwz", "aeio"] {
                let count = letters.len() as u64;
                let index = usize::try_from(number % count).expect("an index into some letters");
                word.push_str(&letters[index..=index]);
                number /= count;
            }
            if number == 0 {
                return word;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_common_and_of_rare_words() {
        let text = Prose::new(7).text(20_000);
        assert_eq!(text, Prose::new(7).text(20_000));
        let mut words: Vec<&str> = text.split(' ').collect();
        let all = words.len();
        let commonest = words.iter().filter(|word| **word == "ba").count();
        words.sort_unstable();
        words.dedup();
        assert!(all / 50 < commonest, "{commonest} of {all}");
        assert!(
            all / 4 < words.len() && words.len() < all,
            "{} of {all}",
            words.len()
        );
    }
}

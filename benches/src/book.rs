//! What was measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::measures::Section;
use crate::statistics::{median, micros, percentile, ratio};
use crate::targets;

/// Every number, by section.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) sections: Vec<Measured>,
}

/// What was measured together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) section: Section,
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
}

/// One thing about one system, with a value for each run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was done, such as `100 posts to 500 agents`.
    pub(crate) case: String,
    /// Who did it, such as `NATS core`.
    pub(crate) system: String,
    /// What of it, such as `p50`.
    pub(crate) measure: String,
    pub(crate) unit: Unit,
    /// The size that the case is about, where there are several.
    pub(crate) size: Option<f64>,
    pub(crate) runs: Vec<f64>,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "µs")]
    Micros,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "/s")]
    PerSecond,
    #[serde(rename = "KiB")]
    Kib,
    #[serde(rename = "")]
    Count,
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::PerSecond => "/s",
            Self::Kib => "KiB",
            Self::Count => "",
        }
    }
}

/// What a figure is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) section: Section,
    pub(crate) case: &'a str,
    pub(crate) system: &'a str,
    pub(crate) size: Option<f64>,
}

impl<'a> About<'a> {
    pub(crate) const fn new(section: Section, case: &'a str, system: &'a str) -> Self {
        Self {
            section,
            case,
            system,
            size: None,
        }
    }

    pub(crate) const fn of_size(self, size: f64) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }
}

impl Book {
    /// Begins a section.
    pub(crate) fn begin(&mut self, section: Section, machine: Machine) {
        self.sections.push(Measured {
            section,
            machine,
            figures: Vec::new(),
        });
    }

    /// Forgets a section.
    pub(crate) fn drop(&mut self, section: Section) {
        self.sections.retain(|measured| measured.section != section);
    }

    /// Notes the value of one run. Invariant: the section has begun.
    pub(crate) fn note(&mut self, about: About<'_>, measure: &str, unit: Unit, value: f64) {
        let About {
            section,
            case,
            system,
            size,
        } = about;
        let measured = self
            .sections
            .iter_mut()
            .find(|measured| measured.section == section);
        let figures = &mut measured.expect("the section has begun").figures;
        match figures.iter_mut().find(|figure| figure.is(case, system, measure)) {
            Some(figure) => figure.runs.push(value),
            None => figures.push(Figure {
                case: case.to_owned(),
                system: system.to_owned(),
                measure: measure.to_owned(),
                unit,
                size,
                runs: vec![value],
            }),
        }
    }

    /// Notes how long things took in one run.
    pub(crate) fn note_times(&mut self, about: About<'_>, mut samples: Vec<Duration>) {
        for (measure, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            self.note(
                about,
                measure,
                Unit::Micros,
                micros(percentile(&mut samples, share)),
            );
        }
    }

    pub(crate) fn section(&self, section: Section) -> Option<&Measured> {
        self.sections.iter().find(|measured| measured.section == section)
    }

    pub(crate) fn figure(
        &self,
        section: Section,
        case: &str,
        system: &str,
        measure: &str,
    ) -> Option<&Figure> {
        self.section(section)?.figure(case, system, measure)
    }

    /// Takes sections over from an earlier book that were not measured now.
    pub(crate) fn complete_from(&mut self, earlier: Self) {
        for measured in earlier.sections {
            if self.section(measured.section).is_none() {
                self.sections.push(measured);
            }
        }
        self.sections.sort_by_key(|measured| measured.section);
    }

    /// Everything, for programs.
    pub(crate) fn told(&self) -> Value {
        let mut told = json!(self);
        told["targets"] = json!(targets::all(self));
        told
    }
}

impl Measured {
    pub(crate) fn figure(&self, case: &str, system: &str, measure: &str) -> Option<&Figure> {
        self.figures
            .iter()
            .find(|figure| figure.is(case, system, measure))
    }
}

impl Figure {
    fn is(&self, case: &str, system: &str, measure: &str) -> bool {
        self.case == case && self.system == system && self.measure == measure
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.runs).unwrap_or(f64::NAN)
    }

    /// The median of how many times the other it is.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        ratio(&self.runs, &other.runs).unwrap_or(f64::NAN)
    }

    /// The smallest and the largest of the runs.
    pub(crate) fn range(&self) -> (f64, f64) {
        let fold = |first: f64, pick: fn(f64, f64) -> f64| self.runs.iter().copied().fold(first, pick);
        (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
    }
}

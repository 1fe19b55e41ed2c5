//! What the bench can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::figure::Figure;
use crate::sizes::BenchSizes;

/// What the bench can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchOptions {
    /// In under three minutes, rather than forty: smaller sizes, shorter runs, two repeats
    #[arg(long)]
    quick: bool,

    /// Sizes at which the figures mean nothing; for the tests
    #[arg(long, hide = true, conflicts_with = "quick")]
    pub(crate) tiny: bool,

    /// Only these figures, separated by commas [default: all but `day`]
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    only: Vec<Figure>,

    /// How often each is measured, the contestants taking turns [default: 5; with --quick 2, or 1 where
    /// deadlines are watched]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    repeats: Option<u8>,

    /// Where the JSON document goes: a file, or `-` for standard output, and then without the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// The directory of PostgreSQL's programs, pgbench among them [default: where they are usually installed]
    #[arg(long, env = "LIFEGUARD_PG_BIN", value_name = "DIRECTORY")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// On which disk it is measured: a directory in which a fresh one is made, and removed at the end [default: the
    /// system's directory for temporary files]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,

    /// ONNX Runtime's library for the figure `models` [default: where `serve` finds it]
    #[arg(long, env = "LIFEGUARD_ONNXRUNTIME", value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,

    /// The program that is started for servers, such as the `lifeguard` of another build [default: the product as it is
    /// in this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,

    /// Where an original StateService serves its model `colors`: the figure `models` measures both, in turns
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) state_service: Option<SocketAddr>,
}

impl BenchOptions {
    /// What is measured, in the order in which it is.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let is_asked = |figure: &Figure| {
            if self.only.is_empty() { *figure != Figure::Day } else { self.only.contains(figure) }
        };
        Figure::ALL.into_iter().filter(is_asked).collect()
    }

    /// How large it is, and how often each is measured.
    pub(crate) fn sizes(&self) -> BenchSizes {
        let usual = if self.tiny {
            BenchSizes::TINY
        } else if self.quick {
            BenchSizes::QUICK
        } else {
            BenchSizes::FULL
        };
        match self.repeats.map(usize::from) {
            Some(repeats) => BenchSizes { repeats, watches: repeats, ..usual },
            None => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn options(words: &str) -> Result<BenchOptions, String> {
        let command = BenchOptions::augment_args(Command::new("bench"));
        let words = std::iter::once("bench").chain(words.split_whitespace());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        BenchOptions::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_all_but_the_day_is_measured_five_times() {
        let full = options("").unwrap();
        let all: Vec<Figure> = Figure::ALL.into_iter().filter(|figure| *figure != Figure::Day).collect();
        assert_eq!(full.figures(), all);
        assert_eq!((full.sizes().repeats, full.sizes().armed), (5, 1_000_000));
    }

    #[test]
    fn a_quick_run_is_smaller_and_says_so_in_its_sizes() {
        let quick = options("--quick").unwrap();
        assert_eq!((quick.sizes().repeats, quick.sizes().armed), (2, 50_000));
        assert_eq!(options("--quick --repeats 3").unwrap().sizes().repeats, 3);
    }

    #[test]
    fn figures_are_measured_once_and_in_their_own_order() {
        let only = options("--only day,http --only events,http").unwrap();
        assert_eq!(only.figures(), [Figure::Events, Figure::Http, Figure::Day]);
    }

    #[test]
    fn bad_options_are_refused_with_what_would_be_right() {
        for (words, right) in
            [("--only speed", "storm"), ("--repeats 0", "1..=100"), ("--repeats many", "invalid digit")]
        {
            let error = options(words).unwrap_err();
            assert!(error.contains(right), "{words}: {error}");
        }
    }
}

//! Options of the bench.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::figure::Figure;
use crate::sizes::BenchSizes;

/// Options of the bench.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchOptions {
    /// Take under three minutes instead of forty: smaller sizes, shorter runs, two repeats
    #[arg(long)]
    quick: bool,

    /// Sizes at which the figures mean nothing; for the tests
    #[arg(long, hide = true, conflicts_with = "quick")]
    pub(crate) tiny: bool,

    /// Measure only these figures, separated by commas [default: all but `day`]
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    only: Vec<Figure>,

    /// Measure each figure this many times, alternating with its comparison [default: 5; with --quick 2, or 1
    /// where deadlines are watched]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    repeats: Option<u8>,

    /// Write a JSON document to this file, or to standard output instead of the table with `-`
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// The directory of PostgreSQL's programs, including pgbench [default: where they are usually installed]
    #[arg(long, env = "LIFEGUARD_PG_BIN", value_name = "DIRECTORY")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// Measure on the disk of this directory, in a new directory that is removed at the end [default: the system's
    /// directory for temporary files]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,

    /// ONNX Runtime's library for the figure `models` [default: where `serve` finds it]
    #[arg(long, env = "LIFEGUARD_ONNXRUNTIME", value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,

    /// The program to start as server, such as the `lifeguard` of another build [default: the product in this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,

    /// The address of an original StateService with its model `colors`; the figure `models` measures both
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) state_service: Option<SocketAddr>,
}

impl BenchOptions {
    /// The figures to measure, in order.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let is_selected = |figure: &Figure| {
            if self.only.is_empty() { *figure != Figure::Day } else { self.only.contains(figure) }
        };
        Figure::ALL.into_iter().filter(is_selected).collect()
    }

    /// Sizes and repeats.
    pub(crate) fn sizes(&self) -> BenchSizes {
        let sizes = if self.tiny {
            BenchSizes::TINY
        } else if self.quick {
            BenchSizes::QUICK
        } else {
            BenchSizes::FULL
        };
        match self.repeats.map(usize::from) {
            Some(repeats) => BenchSizes { repeats, watches: repeats, ..sizes },
            None => sizes,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn options(arguments: &str) -> Result<BenchOptions, String> {
        let command = BenchOptions::augment_args(Command::new("bench"));
        let arguments = std::iter::once("bench").chain(arguments.split_whitespace());
        let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
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
    fn invalid_options_are_refused_with_a_correction() {
        for (arguments, correction) in
            [("--only speed", "storm"), ("--repeats 0", "1..=100"), ("--repeats many", "invalid digit")]
        {
            let error = options(arguments).unwrap_err();
            assert!(error.contains(correction), "{arguments}: {error}");
        }
    }
}

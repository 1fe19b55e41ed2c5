//! Temporary databases of the bench.

/// A temporary database of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScratchDatabase {
    /// The first database of a figure.
    One,
    /// A second database.
    Two,
    /// A third database.
    Three,
    /// The database of pgbench.
    Pgbench,
}

impl ScratchDatabase {
    /// The name of the database.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "bench_one",
            Self::Two => "bench_two",
            Self::Three => "bench_three",
            Self::Pgbench => "bench_pgbench",
        }
    }

    pub(super) fn statements(self) -> (&'static str, &'static str) {
        match self {
            Self::One => ("DROP DATABASE IF EXISTS bench_one WITH (FORCE)", "CREATE DATABASE bench_one"),
            Self::Two => ("DROP DATABASE IF EXISTS bench_two WITH (FORCE)", "CREATE DATABASE bench_two"),
            Self::Three => {
                ("DROP DATABASE IF EXISTS bench_three WITH (FORCE)", "CREATE DATABASE bench_three")
            }
            Self::Pgbench => {
                ("DROP DATABASE IF EXISTS bench_pgbench WITH (FORCE)", "CREATE DATABASE bench_pgbench")
            }
        }
    }
}

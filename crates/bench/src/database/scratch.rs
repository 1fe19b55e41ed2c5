//! The databases that the bench makes and throws away.

/// A database that is made for a figure and thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScratchDatabase {
    /// The figure's own.
    One,
    /// Another beside it.
    Two,
    /// A third beside them.
    Three,
    /// The one that pgbench works on.
    Pgbench,
}

impl ScratchDatabase {
    /// Its name.
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

//! What a connection is for, and the session settings that follow from it.

/// What a connection is for, which decides how its session is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionPurpose {
    /// Transactions and short readings.
    Ordinary,
    /// Reading all there is, in one moment.
    Snapshot,
    /// The statements that write groups.
    Batch,
    /// Renewing a lease, which must not wait for a slow disk: what is committed by it says that a process lives, and after
    /// a crash of the database none does.
    Lease,
}

/// What a transaction may take, so that a process that hangs in the middle of one holds up nobody for long; and that
/// no statement is compiled to machine code, which takes longer than any of them runs.
const COMMON_SETTINGS: [(&str, &str); 7] = [
    // Whatever the server or the role says: what is answered is durable. `remote_apply` is more and stays.
    ("synchronous_commit", "on"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // Connections wait for work for as long as it takes.
    ("idle_session_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("jit", "off"),
];

/// How a connection that writes groups plans: always the same way, which is to take the rows in the order in which the
/// group has them. That is the order of locks that all processes keep to; and a plan made anew for each group would cost
/// more than the group.
const BATCH_SETTINGS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    // A row that somebody keeps locked is left out before long.
    ("lock_timeout", "200ms"),
];

/// A snapshot's statements are planned for what is asked: a plan that is to fit each filter fits none.
const SNAPSHOT_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

const LEASE_SETTINGS: [(&str, &str); 1] = [("synchronous_commit", "off")];

impl ConnectionPurpose {
    /// The session's settings, each once.
    pub(super) fn settings(self) -> Vec<(&'static str, &'static str)> {
        let own: &[(&str, &str)] = match self {
            Self::Ordinary => &[],
            Self::Snapshot => &SNAPSHOT_SETTINGS,
            Self::Batch => &BATCH_SETTINGS,
            Self::Lease => &LEASE_SETTINGS,
        };
        let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
        let general = COMMON_SETTINGS.into_iter().filter(|(name, _)| !is_own(name));
        general.chain(own.iter().copied()).collect()
    }
}

//! Purposes of connections, and their session settings.

/// The purpose of a connection, which determines its session settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionPurpose {
    /// Transactions and short reads.
    Ordinary,
    /// Long reads in one snapshot.
    Snapshot,
    /// The statements that write batches.
    Batch,
    /// Renewals of a lease, which must not wait for a slow disk: a lease need not survive a crash of the database.
    Lease,
}

/// Settings of all sessions: time limits, so that a process that hangs in a transaction does not block others for long, and no
/// JIT compilation, which takes longer than the statements.
const COMMON_SETTINGS: [(&str, &str); 7] = [
    // Acknowledged writes are durable under any defaults of server and role. The stronger `remote_apply` is
    // kept.
    ("synchronous_commit", "on"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // Connections may idle.
    ("idle_session_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("jit", "off"),
];

/// Planner settings for batches: always the same plan, which takes the rows in the order of the batch.
///
/// All processes lock in that order. A new plan for each batch would cost more than the batch.
const BATCH_SETTINGS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    // A row that stays locked is soon left out.
    ("lock_timeout", "200ms"),
];

/// Planner settings for snapshots: plans are made for the actual filters, as no plan fits all of them.
const SNAPSHOT_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

const LEASE_SETTINGS: [(&str, &str); 1] = [("synchronous_commit", "off")];

impl ConnectionPurpose {
    /// Returns the settings of the session, each once.
    pub(super) fn settings(self) -> Vec<(&'static str, &'static str)> {
        let own: &[(&str, &str)] = match self {
            Self::Ordinary => &[],
            Self::Snapshot => &SNAPSHOT_SETTINGS,
            Self::Batch => &BATCH_SETTINGS,
            Self::Lease => &LEASE_SETTINGS,
        };
        let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
        let common = COMMON_SETTINGS.into_iter().filter(|(name, _)| !is_own(name));
        common.chain(own.iter().copied()).collect()
    }
}

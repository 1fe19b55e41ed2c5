//! Processor time and memory of processes and their children, from `/proc`.

use std::time::Duration;

use fs_err as fs;

/// A tick of the times in `/proc`. Source: proc(5) and sysconf(3), `_SC_CLK_TCK`, 100 per second on Linux.
const CPU_TICK: Duration = Duration::from_millis(10);

/// What a process and its children use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessUsage {
    /// Processor time so far, with that of children that have ended.
    pub(super) cpu: Duration,
    /// Memory; what several processes share is divided among them.
    pub(super) memory_kb: u64,
}

impl ProcessUsage {
    /// Reads it; a process that has ended uses nothing.
    pub(super) fn of(pid: u32) -> Self {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut sum = Self::default();
        for id in ids {
            let Some((parent, own, of_ended)) = read_stat(id) else { continue };
            if id == pid || parent == pid {
                sum.cpu += if id == pid { own + of_ended } else { own };
                sum.memory_kb += read_memory(id);
            }
        }
        sum
    }
}

/// The parent, the own processor time and that of children that have ended.
fn read_stat(pid: u32) -> Option<(u32, Duration, Duration)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any characters. Source: proc(5), fields 4 and 14 to 17.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| Some(CPU_TICK * fields.get(field - 3)?.parse::<u32>().ok()?);
    Some((fields.get(1)?.parse().ok()?, ticks(14)? + ticks(15)?, ticks(16)? + ticks(17)?))
}

fn read_memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

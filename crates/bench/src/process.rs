//! Processor time and memory of processes, from `/proc`.

use std::io;
use std::time::Duration;

/// A tick of the times in `/proc`. Source: proc(5) and sysconf(3), `_SC_CLK_TCK`, 100 per second on Linux.
const CPU_TICK: Duration = Duration::from_millis(10);

/// Values of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessStat {
    parent: i32,
    own: Duration,
    /// Processor time of children that have ended and been waited for.
    of_ended: Duration,
}

impl ProcessStat {
    fn of(pid: i32) -> io::Result<Self> {
        let text = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {text:?}")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The program's name is in parentheses and may contain any characters. Source: proc(5), fields 4 and 14 to 17.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| Some(CPU_TICK * fields.get(field - 3)?.parse::<u32>().ok()?);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(14)? + ticks(15)?,
            of_ended: ticks(16)? + ticks(17)?,
        })
    }
}

/// The processor time of a process.
///
/// # Errors
///
/// The error of the system if the process has ended.
pub(crate) fn cpu(pid: i32) -> io::Result<Duration> {
    Ok(ProcessStat::of(pid)?.own)
}

/// The processor time of a process and its children, including those that have ended.
///
/// # Errors
///
/// The error of the system if the process has ended.
pub(crate) fn cpu_with_children(pid: i32) -> io::Result<Duration> {
    let stat = ProcessStat::of(pid)?;
    let mut sum = stat.own + stat.of_ended;
    for entry in fs_err::read_dir("/proc")? {
        let Some(other) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A child that has just ended is counted with its parent next time.
        if let Ok(child) = ProcessStat::of(other)
            && child.parent == pid
        {
            sum += child.own;
        }
    }
    Ok(sum)
}

/// The parent of a process.
///
/// # Errors
///
/// The error of the system if the process has ended.
pub(crate) fn parent(pid: i32) -> io::Result<i32> {
    Ok(ProcessStat::of(pid)?.parent)
}

/// The resident memory of a process, in bytes.
///
/// # Errors
///
/// The error of the system if the process has ended.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no VmRSS")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_whatever_the_program_s_name() {
        let text =
            "42 (a) b (c) S 7 42 42 0 -1 4194560 500 900 0 0 11 22 33 44 20 0 1 0 9 1000 50 184467440 1 1";
        let stat = ProcessStat::parse(text).unwrap();
        let ms = Duration::from_millis;
        assert_eq!(stat, ProcessStat { parent: 7, own: ms(330), of_ended: ms(770) });
        assert_eq!(ProcessStat::parse("42 (a"), None);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        let pid = i32::try_from(pid).unwrap();
        let own = cpu(pid).unwrap();
        assert!(cpu_with_children(pid).unwrap() >= own, "it only grows");
        assert!(parent(pid).unwrap() > 0);
    }
}

//! The limits of the farm: what the operator imports, and what the checker knows of it.

use std::fmt::Write as _;
use std::ops::Range;

use chrono::TimeDelta;
use lifeguard::farm;

/// What boards draw when they are switched on, by hardware type.
const LOADS_MA: [u32; 2] = [1200, 600];
/// The least time for which a power cycle keeps a board off, at every relay board; power URLs say less.
pub(super) const MIN_OFF: TimeDelta = TimeDelta::milliseconds(200);
/// The time between two operations at a relay board.
pub(super) const SETTLE: TimeDelta = TimeDelta::milliseconds(100);

/// A limit on switching boards on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SwitchOnLimit {
    /// So many boards within any span of this length.
    Boards { most: usize, window: TimeDelta },
    /// So much current of boards that are switched on within any span of this length.
    Budget { ma: u32, window: TimeDelta },
    /// So much time between two grants.
    Gap(TimeDelta),
}

/// A circuit or the site, with its relay boards.
#[derive(Debug, Clone)]
pub(super) struct LimitedGroup {
    pub(super) name: String,
    pub(super) relays: Range<usize>,
    pub(super) limit: SwitchOnLimit,
}

/// A farm and its limits. The limit of the site is the tightest; what the circuits allow together is about a third more.
#[derive(Debug, Clone)]
pub(super) struct LimitedFarm {
    pub(super) boards: u16,
    pub(super) boards_per_relay: u16,
    pub(super) groups: Vec<LimitedGroup>,
}

impl LimitedFarm {
    /// A farm with a ramp of 40 s, on four circuits.
    pub(super) fn small(boards: u16) -> Self {
        let (window, per_circuit) = (TimeDelta::seconds(10), 56);
        let limits = [
            SwitchOnLimit::Boards { most: 16, window },
            SwitchOnLimit::Budget { ma: 14_400, window },
            SwitchOnLimit::Gap(TimeDelta::milliseconds(500)),
            SwitchOnLimit::Boards { most: 1, window: TimeDelta::milliseconds(800) },
        ];
        Self::new(
            boards,
            per_circuit,
            &limits,
            SwitchOnLimit::Boards { most: usize::from(boards) / 5, window },
        )
    }

    /// A farm with a ramp of 400 s: 12 circuits for 1,000 boards.
    pub(super) fn large(boards: u16) -> Self {
        let (window, per_circuit) = (TimeDelta::seconds(20), 84);
        let limits = [
            SwitchOnLimit::Boards { most: 6, window },
            SwitchOnLimit::Budget { ma: 5400, window },
            SwitchOnLimit::Gap(TimeDelta::seconds(3)),
            SwitchOnLimit::Boards { most: 1, window: TimeDelta::seconds(3) },
        ];
        Self::new(
            boards,
            per_circuit,
            &limits,
            SwitchOnLimit::Boards { most: usize::from(boards) / 20, window },
        )
    }

    fn new(boards: u16, boards_per_circuit: u16, limits: &[SwitchOnLimit], of_site: SwitchOnLimit) -> Self {
        let boards_per_relay = 14;
        let relays = usize::from(boards.div_ceil(boards_per_relay));
        let per_circuit = usize::from(boards_per_circuit / boards_per_relay);
        let circuit = |(number, limit): (usize, &SwitchOnLimit)| LimitedGroup {
            name: format!("circuit-{}", number + 1),
            relays: number * per_circuit..relays.min((number + 1) * per_circuit),
            limit: *limit,
        };
        let circuits = relays.div_ceil(per_circuit);
        let mut groups: Vec<_> = limits.iter().cycle().take(circuits).enumerate().map(circuit).collect();
        groups.push(LimitedGroup { name: "site".to_owned(), relays: 0..relays, limit: of_site });
        Self { boards, boards_per_relay, groups }
    }

    /// The number of circuits.
    pub(super) fn circuits(&self) -> usize {
        self.groups.len() - 1
    }

    /// The file that the operator imports, where the relay boards have these names.
    pub(super) fn resource_file(&self, relays: &[String]) -> String {
        let ms = |span: TimeDelta| format!("{}ms", span.num_milliseconds());
        let mut text = String::from("resources:\n");
        for LimitedGroup { name, limit, .. } in &self.groups {
            let within = if name == "site" { "" } else { "within: site, " };
            let limit = match limit {
                SwitchOnLimit::Boards { most, window } => {
                    format!("capacity: {most}, window: {}", ms(*window))
                }
                SwitchOnLimit::Budget { ma, window } => format!("budget: {ma}mA, window: {}", ms(*window)),
                SwitchOnLimit::Gap(gap) => format!("gap: {}", ms(*gap)),
            };
            writeln!(text, "  {name}: {{ {within}{limit} }}").unwrap();
        }
        for group in self.groups.iter().filter(|group| group.name != "site") {
            for relay in &relays[group.relays.clone()] {
                let (circuit, settle, min_off) = (&group.name, ms(SETTLE), ms(MIN_OFF));
                writeln!(
                    text,
                    "  \"{relay}\": {{ within: {circuit}, settle: {settle}, min_off: {min_off} }}"
                )
                .unwrap();
            }
        }
        text.push_str("hardware:\n");
        for (hardware, ma) in farm::HARDWARE_TYPES.iter().zip(LOADS_MA) {
            writeln!(text, "  {hardware}: {{ load: {ma}mA }}").unwrap();
        }
        text
    }
}

/// What a board of this hardware type draws.
pub(super) fn load_ma(hardware: &str) -> u32 {
    let index = farm::HARDWARE_TYPES.iter().position(|known| *known == hardware).unwrap();
    LOADS_MA[index]
}

//! Switching the power of boards by hand: which boards an outlet belongs to, and when their power is a person's to switch.

use serde_json::{Map, json};

use super::device::Board;
use super::service::BoardService;
use super::store::devices::{self, OutletAssignment};
use crate::actions;
use crate::engine::{EngineError, FaceRefusal, InstanceNote};
use crate::machine::StateName;
use crate::store::actions::list_summaries;

/// The states in which a board's power is a person's to switch: those of `states/board.yaml` and of `states/mozpool.yaml`. In
/// all others Lifeguard may cycle it at any time, also where the board rests: New, Ready and Failed boards take requests of
/// everybody, and Ready boards are rebooted when they stop answering.
const MANUAL_STATES: [&str; 4] = ["Maintenance", "LockedOut", "maintenance_mode", "locked_out"];

/// The note in the history of a board whose power is switched by hand.
const SWITCHED_NOTE: &str = "power-by-hand";

/// A power operation by hand, for the history of a board.
#[derive(Debug, Clone, Copy)]
pub struct ManualSwitch<'a> {
    /// Its name: `on`, `off`, `cycle`.
    pub operation: &'a str,
    /// The outlet, in canonical spelling.
    pub outlet: &'a str,
    /// The instance of the outlet, whose history has the result.
    pub instance: &'a str,
    /// Whether it was forced: Lifeguard looks after the board.
    pub forced: bool,
}

/// An outlet that a board uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardOutlet {
    /// The outlet, in canonical spelling.
    pub outlet: String,
    /// The board.
    pub board: String,
    /// The board's power URL.
    pub power_url: String,
}

impl BoardService {
    /// Lists the boards whose power is switched at `outlet`. Earlier releases accepted boards that share an outlet.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn boards_at(&self, outlet: &str) -> Result<Vec<Board>, EngineError> {
        let mut boards = Vec::new();
        for of in self.outlets().await? {
            if of.outlet == outlet {
                boards.extend(self.find(&of.board).await?);
            }
        }
        Ok(boards)
    }

    /// Lists the outlets of all boards, in canonical spelling, each with its board and the board's power URL.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn outlets(&self) -> Result<Vec<BoardOutlet>, EngineError> {
        let assigned = devices::list_outlet_assignments(&mut *self.engine().store().reader().await?).await?;
        let outlets = assigned.into_iter().filter_map(|OutletAssignment { name, power_url, .. }| {
            let power_url = power_url?;
            Some(BoardOutlet { outlet: actions::power_outlet(&power_url)?, board: name, power_url })
        });
        Ok(outlets.collect())
    }

    /// Says why a device cannot be used by hand under this name: boards use it under another scheme, and so queue for another
    /// resource. `device` is in canonical spelling, `modbus://relay-3.lab:502`; `None` if it can.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn refuse_other_scheme(&self, device: &str) -> Result<Option<FaceRefusal>, EngineError> {
        let Some((scheme, address)) = device.split_once("://") else { return Ok(None) };
        let assigned = devices::list_outlet_assignments(&mut *self.engine().store().reader().await?).await?;
        let other = assigned.into_iter().find_map(|board| {
            let (of_board, at) = actions::power_device(board.power_url.as_deref()?)?;
            (at == address && of_board != scheme).then_some((board.name, of_board))
        });
        Ok(other.map(|(name, of_board)| {
            let detail = format!(
                "{name} uses {address} by `{of_board}://`, and {device} would be used beside it: write `{of_board}://{address}`"
            );
            let more = Map::from_iter([("board".to_owned(), json!(name)), ("scheme".to_owned(), json!(of_board))]);
            FaceRefusal { more, ..FaceRefusal::new("other_scheme", detail) }
        }))
    }

    /// Says why the power of a board cannot be switched by hand now, unless it is forced; `None` if it can.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn refuse_manual_power(&self, board: &Board) -> Result<Option<FaceRefusal>, EngineError> {
        let (name, state) = (&board.instance.name, &board.instance.state);
        if !is_manual(state) {
            let detail = format!(
                "{name} is in {state}, where Lifeguard looks after it and may cycle its power at any time: lock it out first, by \
                 `lifeguard device lock-out {name} --reason …`, or force the operation (`--force`, `\"force\": true`)"
            );
            return Ok(Some(refusal("looked_after", detail, board)));
        }
        let open = list_summaries(&mut *self.engine().store().reader().await?, board.id).await?;
        Ok(open.first().map(|action| {
            let detail = format!(
                "an action of {name}, {}, has not ended yet and may still switch its power: wait until `lifeguard device show \
                 {name}` shows no action, or force the operation (`--force`, `\"force\": true`)",
                action.action
            );
            refusal("action_open", detail, board)
        }))
    }

    /// Notes in the history of a board that its power was switched by hand.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::note`](crate::engine::Engine::note).
    pub async fn note_manual_power(
        &self,
        board: &Board,
        switched: ManualSwitch<'_>,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let ManualSwitch { operation, outlet, instance, forced } = switched;
        let forced_text = if forced { ", forced" } else { "" };
        let note = InstanceNote {
            name: SWITCHED_NOTE,
            sender,
            evidence: Map::from_iter([
                ("operation".to_owned(), json!(operation)),
                ("outlet".to_owned(), json!(outlet)),
                ("instance".to_owned(), json!(instance)),
                ("forced".to_owned(), json!(forced)),
            ]),
            reason: Some(format!("power {operation} by hand{forced_text}")),
        };
        self.engine().note(board.id, note).await
    }
}

fn is_manual(state: &StateName) -> bool {
    MANUAL_STATES.contains(&state.as_str())
}

fn refusal(code: &'static str, detail: String, board: &Board) -> FaceRefusal {
    let more = Map::from_iter([
        ("board".to_owned(), json!(board.instance.name)),
        ("state".to_owned(), json!(board.instance.state)),
    ]);
    FaceRefusal { more, ..FaceRefusal::new(code, detail) }
}

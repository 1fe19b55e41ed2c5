//! The operations on boards, for the API and the listeners.

use std::net::IpAddr;
use std::sync::Arc;

use super::boot::{BootCoverage, BootProgress};
use super::device::Board;
use super::face::BoardFace;
use super::observed_power::ObservedPower;
use super::outlets;
use super::store::{boots, devices};
use crate::actions::{self, PowerSettings};
use crate::engine::{Engine, EngineError};
use crate::machine::MachineName;
use crate::store::instances::InstanceId;

/// The boards of a farm, over the engine that drives them.
#[derive(Clone)]
pub struct BoardService {
    engine: Engine,
    face: Arc<BoardFace>,
    settings: PowerSettings,
}

impl BoardService {
    /// Creates the service over `engine`, which was created with `face`.
    #[must_use]
    pub fn new(engine: Engine, face: Arc<BoardFace>) -> Self {
        Self { engine, face, settings: PowerSettings::default() }
    }

    /// Sets what power URLs can name at this server; the default is nothing.
    #[must_use]
    pub fn with_power_settings(self, settings: PowerSettings) -> Self {
        Self { settings, ..self }
    }

    /// Returns the engine that drives the boards.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the machine whose instances the boards are.
    #[must_use]
    pub fn machine(&self) -> &MachineName {
        self.face.machine()
    }

    /// Finds a board by its name.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn find(&self, name: &str) -> Result<Option<Board>, EngineError> {
        if name.contains('\0') {
            return Ok(None);
        }
        Ok(devices::find(&mut *self.engine.store().reader().await?, self.machine(), name).await?)
    }

    /// Reads the progress of a board's present boot.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn boot(&self, id: InstanceId) -> Result<BootProgress, EngineError> {
        let now = self.engine.clock().now();
        Ok(boots::read_boot(&mut *self.engine.store().reader().await?, id, now).await?)
    }

    /// Reads what was last observed of a board's power; `None` if it has no power URL and nothing was.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn power(&self, board: &Board) -> Result<Option<ObservedPower>, EngineError> {
        let mut db = self.engine.store().reader().await?;
        Ok(outlets::read_power(&mut db, board.id, &board.device).await?)
    }

    /// Finds the MAC address of the board that is registered with the address `peer`, if there is exactly one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn mac_at(&self, peer: IpAddr) -> Result<Option<String>, EngineError> {
        let mut db = self.engine.store().reader().await?;
        Ok(devices::find_mac_at(&mut db, &peer.to_string()).await?)
    }

    /// Returns a warning if this server lacks the credential that `power_url` names. Another server may have it.
    #[must_use]
    pub fn warn_of_credential(&self, power_url: &str) -> Option<String> {
        actions::missing_power_setting(power_url, &self.settings)
    }

    /// Sets what requests of boards may have been missed.
    pub fn set_boot_coverage(&self, coverage: BootCoverage) {
        self.face.set_coverage(coverage);
    }

    /// Returns what requests of boards may have been missed.
    #[must_use]
    pub fn boot_coverage(&self) -> BootCoverage {
        self.face.coverage()
    }

    /// Sets why the boot tree cannot be read; `None` if it can.
    pub fn set_boot_fault(&self, fault: Option<String>) {
        self.face.set_boot_fault(fault);
    }

    /// Returns why the boot tree cannot be read, for the operator; `None` if it can.
    #[must_use]
    pub fn boot_fault(&self) -> Option<String> {
        self.face.boot_fault()
    }
}

//! All that can be done with boards, for those who serve them.

use std::net::IpAddr;
use std::sync::Arc;

use super::boot::{BootCoverage, BootProgress};
use super::device::Board;
use super::face::BoardFace;
use super::store::{boots, devices};
use crate::engine::{Engine, EngineError};
use crate::machine::MachineName;
use crate::store::instances::InstanceId;

/// The boards of a farm, over the engine that drives them.
#[derive(Clone)]
pub struct BoardService {
    engine: Engine,
    face: Arc<BoardFace>,
}

impl BoardService {
    /// The boards of `face`, which `engine` was made with.
    #[must_use]
    pub fn new(engine: Engine, face: Arc<BoardFace>) -> Self {
        Self { engine, face }
    }

    /// The engine that drives them.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The machine whose instances they are.
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

    /// Reads how far a board's present boot got.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn boot(&self, id: InstanceId) -> Result<BootProgress, EngineError> {
        let now = self.engine.clock().now();
        Ok(boots::read_boot(&mut *self.engine.store().reader().await?, id, now).await?)
    }

    /// The network address of the one board that is registered as being at the address `peer`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn mac_at(&self, peer: IpAddr) -> Result<Option<String>, EngineError> {
        let mut db = self.engine.store().reader().await?;
        Ok(devices::find_mac_at(&mut db, &peer.to_string()).await?)
    }

    /// Learns what can have been missed of boards' requests.
    pub fn set_boot_coverage(&self, coverage: BootCoverage) {
        self.face.set_coverage(coverage);
    }

    /// What can have been missed of boards' requests.
    #[must_use]
    pub fn boot_coverage(&self) -> BootCoverage {
        self.face.coverage()
    }

    /// Learns why the boot tree cannot be read, or that it can.
    pub fn set_boot_fault(&self, fault: Option<String>) {
        self.face.set_boot_fault(fault);
    }

    /// Why the boot tree cannot be read, in words for the operator; nothing where it can.
    #[must_use]
    pub fn boot_fault(&self) -> Option<String> {
        self.face.boot_fault()
    }
}

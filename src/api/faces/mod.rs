//! Foreign protocols that this server speaks.

pub(super) mod state_service;

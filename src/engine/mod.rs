//! Drives instances: commits, deadlines, handing out actions.

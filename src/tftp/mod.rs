//! The TFTP server over the boot tree.

//! A server on a site, and other programs.

use std::path::Path;
use std::process::{Child, Stdio};

use fs_err as fs;

use crate::site::TestSite;

/// The server's ports on the site's address.
pub(crate) const HTTP_PORT: u16 = 8001;
pub(crate) const TFTP_PORT: u16 = 8069;

/// A program, killed on drop.
pub(crate) struct ChildProgram(pub(crate) Child);

impl ChildProgram {
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for ChildProgram {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server, with its boot tree at `boot` and its log in `server.log` of the site.
pub(crate) fn serve(site: &TestSite, options: &[String]) -> ChildProgram {
    let mut command = site.command(Path::new(env!("CARGO_BIN_EXE_lifeguard")));
    command.args(["serve", "--listen", &site.addr(HTTP_PORT).to_string()]);
    command.args(["--tftp-listen", &site.addr(TFTP_PORT).to_string(), "--boot-root"]);
    command.arg(site.path().join("boot")).args(options);
    let log = fs::File::options().append(true).create(true).open(site.path().join("server.log")).unwrap();
    ChildProgram(command.stdout(Stdio::null()).stderr(log.into_parts().0).spawn().unwrap())
}

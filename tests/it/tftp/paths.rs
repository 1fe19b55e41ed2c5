//! Tests of file names: none leads out of the boot tree, and no answer reveals its location.

use std::os::unix::fs::symlink;

use lifeguard::tftp::packet::{TftpPacket, TftpRequest, TransferMode};
use lifeguard::tftp::{TftpRefusal, TransferEnd};

use super::{LONG_RETRY_LIMITS, TftpSite};

#[tokio::test]
async fn a_path_out_of_the_tree_is_refused_without_revealing_it() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 10);
    site.file("../secret", 10);
    for directory in ["a", "../outside"] {
        fs_err::create_dir(site.path(directory)).unwrap();
    }
    site.file("../outside/file", 10);
    symlink("../secret", site.path("link")).unwrap();
    symlink("../outside", site.path("directory-link")).unwrap();
    symlink("/etc/passwd", site.path("absolute-link")).unwrap();
    nix::unistd::mkfifo(&site.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();

    let (outside, not_a_file) = (TftpRefusal::Outside, TftpRefusal::NotAFile);
    for (name, refusal) in [
        ("../secret", Some(&outside)),
        ("/../secret", Some(&outside)),
        ("a/../../secret", Some(&outside)),
        ("../boot/image", Some(&outside)),
        ("link", Some(&outside)),
        ("directory-link/file", Some(&outside)),
        ("absolute-link", Some(&outside)),
        ("a", Some(&not_a_file)),
        ("pipe", Some(&not_a_file)),
        ("/", Some(&not_a_file)),
        ("//etc/passwd", None),
        ("%2e%2e%2fsecret", None),
        ("..%2fsecret", None),
        ("..\\secret", None),
        ("image/", None),
        ("nowhere", None),
    ] {
        let mut client = site.client().await;
        client.ask(name, &[("tsize", "0")]).await;
        let (code, message) = client.hear_error().await;
        assert_eq!(code, if refusal == Some(&outside) { 2 } else { 1 }, "{name}: {message}");
        let directory = site.grounds.path().to_str().unwrap();
        assert!(!message.contains(directory) && !message.contains('/'), "{name}: {message}");
        let expected = refusal.map_or(TransferEnd::NotFound, |refusal| TransferEnd::Refused(refusal.clone()));
        assert_eq!(site.end().await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_link_within_the_tree_is_followed() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    for directory in ["pxelinux.cfg", "configs"] {
        fs_err::create_dir(site.path(directory)).unwrap();
    }
    let content = site.file("configs/install", 900);
    symlink("../configs/install", site.path("pxelinux.cfg/01-aa-bb-cc-dd-ee-ff")).unwrap();
    symlink(site.path("configs/install"), site.path("pxelinux.cfg/absolute")).unwrap();
    for name in ["pxelinux.cfg/01-aa-bb-cc-dd-ee-ff", "/pxelinux.cfg/absolute"] {
        let mut client = site.client().await;
        client.ask(name, &[]).await;
        assert_eq!(client.hear_rest(1).await, content, "{name}");
    }
}

#[tokio::test]
async fn file_names_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let name = b"pxelinux.0\xff";
    fs_err::write(site.path("").join(std::ffi::OsStr::from_bytes(name)), b"loader").unwrap();
    let mut client = site.client().await;
    let request = TftpRequest { file: name.to_vec(), mode: TransferMode::Octet, options: Vec::new() };
    client.send_raw(&TftpPacket::Read(request).to_bytes()).await;
    assert_eq!(client.hear_rest(1).await, b"loader");
    let super::ObservedFetch::Asked(fetch) = site.next_observed().await else { panic!("no request") };
    assert_eq!(fetch.file, "pxelinux.0\\xff");
}

//! The boot media: a Debian kernel, an initramfs of busybox, and a card image with both.

use std::ffi::OsStr;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::foreign_programs::{file, folder, tool};

/// Kernel modules of the boards' disk and network, in the order in which they are loaded.
const MODULES: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];

const SECTOR: u32 = 512;
/// The first sector of the card's only partition.
const PARTITION: u32 = 2048;
const PARTITION_SECTORS: u32 = 19 * 2048;
/// The size of a board's card.
const CARD_BYTES: u64 = 64 << 20;

/// Paths of programs and files of other packages.
pub(super) struct Media {
    pub(super) qemu: PathBuf,
    busybox: PathBuf,
    mcopy: PathBuf,
    mformat: PathBuf,
    syslinux: PathBuf,
    mbr: PathBuf,
    pxelinux: [PathBuf; 2],
    kernel: PathBuf,
    modules: Vec<PathBuf>,
}

impl Media {
    /// Finds them. `None` if something is missing: the test is then skipped, or fails in CI.
    pub(super) fn find() -> Option<Self> {
        let modules = "/usr/lib/syslinux/modules/bios/ldlinux.c32";
        let kernel = folder("LIFEGUARD_TEST_KERNEL", "a Debian kernel package unpacked by `dpkg -x`")?;
        let mut files = Vec::new();
        list(&kernel, &mut files);
        let named = |name: &str| {
            let is_named = |file: &&PathBuf| file.file_name().is_some_and(|file| starts_with(file, name));
            files.iter().find(is_named).unwrap_or_else(|| panic!("no {name} in {}", kernel.display())).clone()
        };
        Some(Self {
            qemu: tool("qemu-system-x86_64", "qemu-system-x86 ipxe-qemu")?,
            busybox: tool("busybox", "busybox-static")?,
            mcopy: tool("mcopy", "mtools")?,
            mformat: tool("mformat", "mtools")?,
            syslinux: tool("syslinux", "syslinux")?,
            mbr: file("/usr/lib/syslinux/mbr/mbr.bin", "syslinux-common")?,
            pxelinux: [file("/usr/lib/PXELINUX/pxelinux.0", "pxelinux")?, file(modules, "syslinux-common")?],
            kernel: named("vmlinuz-"),
            modules: MODULES.iter().map(|name| named(&format!("{name}.ko"))).collect(),
        })
    }

    /// Puts PXELINUX, kernel, initramfs and card image into the boot tree. `card_options` are the kernel options of the
    /// image on the card.
    pub(super) fn install(&self, boot_root: &Path, work: &Path, card_options: &str) {
        for file in &self.pxelinux {
            fs::copy(file, boot_root.join(file.file_name().unwrap())).unwrap();
        }
        let live = boot_root.join("live");
        fs::create_dir(&live).unwrap();
        fs::copy(&self.kernel, live.join("vmlinuz")).unwrap();
        self.write_initramfs(&work.join("initramfs"), &live.join("initrd"));
        self.write_card_image(work, &live, card_options);
    }

    fn write_initramfs(&self, root: &Path, to: &Path) {
        for folder in ["bin", "dev", "modules", "proc", "sys"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy(&self.busybox, root.join("bin/busybox")).unwrap();
        for (name, script) in [("init", include_str!("init.sh")), ("lease", include_str!("lease.sh"))] {
            fs::write(root.join(name), script).unwrap();
            fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut order = String::new();
        for module in &self.modules {
            let name = module.file_name().unwrap();
            fs::copy(module, root.join("modules").join(name)).unwrap();
            order.push_str(&name.to_string_lossy());
            order.push('\n');
        }
        fs::write(root.join("modules/order"), order).unwrap();
        let mut pack = Command::new("sh");
        pack.args(["-c", r#"find . | "$0" cpio -o -H newc"#]).arg(&self.busybox).current_dir(root);
        run(pack.stdout(fs::File::create(to).unwrap().into_parts().0));
    }

    /// A disk with one FAT partition, which SYSLINUX boots.
    fn write_card_image(&self, work: &Path, live: &Path, options: &str) {
        let image = live.join("card.img");
        let mut disk = fs::File::create(&image).unwrap();
        disk.set_len(u64::from((PARTITION + PARTITION_SECTORS) * SECTOR)).unwrap();
        disk.write_all(&fs::read(&self.mbr).unwrap()).unwrap();
        // One entry of the partition table: active, FAT16 by block address; then the signature.
        disk.seek(SeekFrom::Start(446)).unwrap();
        disk.write_all(&[0x80, 0, 0, 0, 0x0e, 0, 0, 0]).unwrap();
        disk.write_all(&[PARTITION, PARTITION_SECTORS].map(u32::to_le_bytes).concat()).unwrap();
        disk.seek(SeekFrom::Start(510)).unwrap();
        disk.write_all(&[0x55, 0xaa]).unwrap();
        drop(disk);

        let config = work.join("syslinux.cfg");
        let label = "default card\nprompt 0\nlabel card\n    kernel vmlinuz\n    initrd initrd\n";
        fs::write(&config, format!("{label}    append {options}\n")).unwrap();
        let offset = (PARTITION * SECTOR).to_string();
        let partition = format!("{}@@{offset}", image.display());
        let mtools = |program: &Path| {
            let mut command = Command::new(program);
            command.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &partition]);
            command
        };
        let [sectors, hidden] = [PARTITION_SECTORS, PARTITION].map(|number| number.to_string());
        run(mtools(&self.mformat).args(["-T", &sectors, "-h", "16", "-s", "63", "-H", &hidden, "::"]));
        run(mtools(&self.mcopy).args([live.join("vmlinuz"), live.join("initrd"), config]).arg("::"));
        run(Command::new(&self.syslinux).args(["--offset", &offset, "--install"]).arg(&image));
    }

    /// An empty card.
    pub(super) fn write_empty_card(card: &Path) {
        fs::File::create(card).unwrap().set_len(CARD_BYTES).unwrap();
    }
}

fn starts_with(name: &OsStr, beginning: &str) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(beginning))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

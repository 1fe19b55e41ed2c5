//! The boot tree of simulated boards.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::boot_config::{BootConfig, LiveTask};
use random::Random;

/// The hardware types.
pub const HARDWARE_TYPES: [&str; 2] = ["panda", "rpi4"];

/// The images: two to install, and two live images that install nothing.
pub const IMAGES: [&str; 4] = ["base-1", "base-2", "self-test", "maintenance"];

/// Sizes of the live image's kernel and initrd: large enough to interrupt a transfer.
const KERNEL_BYTES: usize = 256 * 1024;
const INITRD_BYTES: usize = 384 * 1024 + 1;

/// The name of the boot config of `image` on `hardware`: `base-1.panda`.
#[must_use]
pub fn boot_config_name(image: &str, hardware: &str) -> String {
    format!("{image}.{hardware}")
}

/// Writes a boot tree below `root`: a boot config for each image and hardware type, and the live image.
///
/// Replaces existing files of these names; all other files, including boot links, are kept.
///
/// # Errors
///
/// An [`io::Error`] with the path; files written before it are kept.
pub fn write_boot_tree(root: &Path) -> io::Result<()> {
    let configs = root.join("configs");
    let live = root.join("live");
    for directory in [&configs, &live, &root.join("pxelinux.cfg")] {
        fs::create_dir_all(directory)?;
    }
    for image in IMAGES {
        let task = match image {
            "self-test" => LiveTask::SelfTest,
            "maintenance" => LiveTask::Maintenance,
            _ => LiveTask::Install,
        };
        let config = BootConfig {
            kernel: "live/kernel".to_owned(),
            initrd: Some("live/initrd".to_owned()),
            task,
            image: Some(image.to_owned()),
        };
        for hardware in HARDWARE_TYPES {
            fs::write(configs.join(boot_config_name(image, hardware)), config.to_string())?;
        }
    }
    fs::write(live.join("kernel"), noise(1, KERNEL_BYTES))?;
    fs::write(live.join("initrd"), noise(2, INITRD_BYTES))
}

/// Random bytes, so that a misplaced block is detected.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut noise: Vec<u8> = std::iter::repeat_with(|| random.next_u64().to_le_bytes())
        .take(bytes.div_ceil(8))
        .flatten()
        .collect();
    noise.truncate(bytes);
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_a_config_for_each_hardware_type() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            write_boot_tree(root.path()).unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("configs")).unwrap().count(), 8);
        for (image, task) in [
            ("base-2", LiveTask::Install),
            ("self-test", LiveTask::SelfTest),
            ("maintenance", LiveTask::Maintenance),
        ] {
            let file = root.path().join("configs").join(boot_config_name(image, "rpi4"));
            let config: BootConfig = fs::read_to_string(file).unwrap().parse().unwrap();
            assert_eq!((config.task, config.image.as_deref()), (task, Some(image)));
            for file in [Some(config.kernel), config.initrd].into_iter().flatten() {
                assert!(fs::metadata(root.path().join(file)).unwrap().len() > 200_000);
            }
        }
    }
}

//! A board's boot config, a small text in the style of PXELINUX.
//!
//! ```text
//! DEFAULT lifeguard
//! LABEL lifeguard
//!   KERNEL live/kernel
//!   APPEND initrd=live/initrd lifeguard.run=install lifeguard.image=base-1
//! ```
//!
//! The boot loader knows only PXELINUX keywords; arguments beginning with `lifeguard.` are for the live image.
//!
//! Source: Syslinux, "Config": keywords in any case, `#` begins a comment, `initrd=` in APPEND names the initrd.

use std::fmt;
use std::str::FromStr;

/// Task of a live image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveTask {
    /// It writes an image on the board's card and reboots.
    Install,
    /// It tests the board.
    SelfTest,
    /// It keeps running for manual maintenance.
    Maintenance,
}

/// A parsed boot config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootConfig {
    /// The kernel's file in the boot tree.
    pub kernel: String,
    /// The initrd's file in the boot tree.
    pub initrd: Option<String>,
    /// What the live image does.
    pub task: LiveTask,
    /// The image to install, if the config names one.
    pub image: Option<String>,
}

/// Why a boot config is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootConfigError {
    /// A line begins with an unknown keyword.
    #[error("unknown keyword `{0}`")]
    Keyword(String),
    /// The default label is missing.
    #[error("no label `{0}`")]
    Label(String),
    /// The label has no kernel.
    #[error("no KERNEL")]
    Kernel,
    /// `lifeguard.run` is missing, or is not one of the three tasks.
    #[error("`lifeguard.run` must be `install`, `self-test` or `maintenance`, not `{0}`")]
    Task(String),
}

impl FromStr for BootConfig {
    type Err = BootConfigError;

    fn from_str(text: &str) -> Result<Self, BootConfigError> {
        let mut default = None;
        let mut label = None;
        let mut kernel = None;
        let mut append = None;
        let mut has_label = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            let is_ours = label == default;
            match word.to_ascii_uppercase().as_str() {
                "DEFAULT" => default = Some(rest),
                "LABEL" => {
                    label = Some(rest);
                    has_label |= label == default;
                }
                "KERNEL" if is_ours => kernel = Some(rest),
                "APPEND" if is_ours => append = Some(rest),
                "KERNEL" | "APPEND" | "PROMPT" | "TIMEOUT" | "SAY" => {}
                _ => return Err(BootConfigError::Keyword(word.to_owned())),
            }
        }
        if !has_label {
            return Err(BootConfigError::Label(default.unwrap_or_default().to_owned()));
        }
        let argument = |name| {
            let mut words =
                append.unwrap_or_default().split_whitespace().filter_map(|word| word.split_once('='));
            words.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        Ok(Self {
            kernel: kernel.filter(|file| !file.is_empty()).ok_or(BootConfigError::Kernel)?.to_owned(),
            initrd: argument("initrd"),
            task: task(&argument("lifeguard.run").unwrap_or_default())?,
            image: argument("lifeguard.image"),
        })
    }
}

fn task(word: &str) -> Result<LiveTask, BootConfigError> {
    match word {
        "install" => Ok(LiveTask::Install),
        "self-test" => Ok(LiveTask::SelfTest),
        "maintenance" => Ok(LiveTask::Maintenance),
        _ => Err(BootConfigError::Task(word.to_owned())),
    }
}

impl fmt::Display for LiveTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Install => "install",
            Self::SelfTest => "self-test",
            Self::Maintenance => "maintenance",
        })
    }
}

impl fmt::Display for BootConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, initrd, task, image } = self;
        write!(f, "DEFAULT lifeguard\nLABEL lifeguard\n  KERNEL {kernel}\n  APPEND")?;
        if let Some(initrd) = initrd {
            write!(f, " initrd={initrd}")?;
        }
        write!(f, " lifeguard.run={task}")?;
        if let Some(image) = image {
            write!(f, " lifeguard.image={image}")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "DEFAULT lifeguard\nLABEL lifeguard\n  KERNEL live/kernel\n  \
                        APPEND initrd=live/initrd lifeguard.run=install lifeguard.image=base-1\n";

    fn config() -> BootConfig {
        BootConfig {
            kernel: "live/kernel".into(),
            initrd: Some("live/initrd".into()),
            task: LiveTask::Install,
            image: Some("base-1".into()),
        }
    }

    #[test]
    fn a_config_is_parsed_and_formatted() {
        assert_eq!(TEXT.parse(), Ok(config()));
        assert_eq!(config().to_string(), TEXT);
        for task in [LiveTask::SelfTest, LiveTask::Maintenance] {
            let config = BootConfig { task, image: None, initrd: None, ..config() };
            assert_eq!(config.to_string().parse(), Ok(config));
        }
    }

    #[test]
    fn other_labels_comments_and_case_do_not_matter() {
        let text =
            format!("# ours\nprompt 0\n{}\nlabel other\n kernel other\n append x=y", TEXT.to_lowercase());
        assert_eq!(text.parse(), Ok(config()));
        assert_eq!(TEXT.replace('\n', "\r\n").parse(), Ok(config()));
    }

    #[test]
    fn invalid_configs_are_refused() {
        for (from, to, error) in [
            ("KERNEL", "KERNAL", BootConfigError::Keyword("KERNAL".into())),
            ("DEFAULT lifeguard", "DEFAULT other", BootConfigError::Label("other".into())),
            ("DEFAULT lifeguard", "", BootConfigError::Label(String::new())),
            ("live/kernel", "", BootConfigError::Kernel),
            ("run=install", "run=instal", BootConfigError::Task("instal".into())),
            ("lifeguard.run=install", "", BootConfigError::Task(String::new())),
        ] {
            assert_eq!(TEXT.replace(from, to).parse::<BootConfig>(), Err(error), "{to}");
        }
        assert!("".parse::<BootConfig>().is_err());
        assert!("\u{0}\u{1f}garbage".parse::<BootConfig>().is_err());
    }
}

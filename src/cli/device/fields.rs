//! The options for the fields of boards: one option for each field.

use clap::{Arg, ArgGroup, ArgMatches, Args, Command, FromArgMatches};

use crate::boards::{DEVICE_FIELDS, DeviceField, FieldDefault};

/// The given values of a board's fields.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldValues(pub(super) Vec<(&'static str, String)>);

/// The given new values of a board's fields.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldChanges(pub(super) Vec<(&'static str, String)>);

/// The given filters of a list of boards, by field.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldFilters(pub(super) Vec<(&'static str, String)>);

/// The option of a field. Its names are leaked: they are made once and needed until the program ends.
fn option(field: &DeviceField, about: &'static str) -> Arg {
    let long: &'static str = field.name.replace('_', "-").leak();
    let value: &'static str = field.name.to_uppercase().leak();
    Arg::new(field.name).long(long).value_name(value).help(about)
}

/// The option that gives a field its value.
fn value_option(field: &DeviceField) -> Arg {
    let option = option(field, field.about);
    match field.help {
        Some(help) => option.long_help(help()),
        None => option,
    }
}

fn given_values(
    matches: &ArgMatches,
    fields: impl Iterator<Item = &'static DeviceField>,
) -> Vec<(&'static str, String)> {
    fields.filter_map(|field| Some((field.name, matches.get_one::<String>(field.name)?.clone()))).collect()
}

fn filter_fields() -> impl Iterator<Item = &'static DeviceField> {
    DEVICE_FIELDS.iter().filter(|field| field.filter.is_some())
}

/// The options of [`FieldFilters`].
pub(super) fn filter_names() -> impl Iterator<Item = &'static str> {
    filter_fields().map(|field| field.name)
}

impl Args for FieldValues {
    fn augment_args(command: Command) -> Command {
        DEVICE_FIELDS.iter().fold(command, |command, field| {
            command.arg(value_option(field).required(field.default == FieldDefault::Required))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldValues {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given_values(matches, DEVICE_FIELDS.iter())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = given_values(matches, DEVICE_FIELDS.iter());
        Ok(())
    }
}

impl Args for FieldChanges {
    fn augment_args(command: Command) -> Command {
        let names: Vec<&str> = DEVICE_FIELDS.iter().map(|field| field.name).collect();
        command
            .args(DEVICE_FIELDS.iter().map(value_option))
            .group(ArgGroup::new("changes").args(names).required(true).multiple(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldChanges {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given_values(matches, DEVICE_FIELDS.iter())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = given_values(matches, DEVICE_FIELDS.iter());
        Ok(())
    }
}

impl Args for FieldFilters {
    fn augment_args(command: Command) -> Command {
        filter_fields().fold(command, |command, field| {
            let about = field.filter.map_or(field.about, |filter| filter.about);
            command.arg(option(field, about))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldFilters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given_values(matches, filter_fields())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = given_values(matches, filter_fields());
        Ok(())
    }
}

//! Columns of a statement's arrays that are mostly NULL.

/// A column that is mostly NULL: what is not there after the last value need not be sent.
pub(super) struct SparseColumn<T> {
    values: Vec<Option<T>>,
    /// How many are NULL at the end of it.
    trailing_nulls: usize,
}

// Not derived: that would ask for a default of what is in it.
impl<T> Default for SparseColumn<T> {
    fn default() -> Self {
        Self { values: Vec::new(), trailing_nulls: 0 }
    }
}

impl<T> SparseColumn<T> {
    pub(super) fn push(&mut self, value: Option<T>) {
        match value {
            Some(value) => {
                self.values.extend((0..std::mem::take(&mut self.trailing_nulls)).map(|_| None));
                self.values.push(Some(value));
            }
            None => self.trailing_nulls += 1,
        }
    }

    /// The values up to the last that is there.
    pub(super) fn as_slice(&self) -> &[Option<T>] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_the_last_value_is_there() {
        let mut column = SparseColumn::default();
        for (value, expected) in [
            (None, &[][..]),
            (Some(1), &[None, Some(1)]),
            (None, &[None, Some(1)]),
            (None, &[None, Some(1)]),
            (Some(2), &[None, Some(1), None, None, Some(2)]),
        ] {
            column.push(value);
            assert_eq!(column.as_slice(), expected);
        }
    }
}

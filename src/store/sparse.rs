//! Array parameters that are mostly NULL.

/// A column that is mostly NULL: NULLs after the last value are not sent.
pub(super) struct SparseColumn<T> {
    values: Vec<Option<T>>,
    /// The number of NULLs after the last value.
    trailing_nulls: usize,
}

// Not derived: that would require `T: Default`.
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

    /// The column up to its last value.
    pub(super) fn as_slice(&self) -> &[Option<T>] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_after_the_last_value_are_left_out() {
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

//! The macro that builds the operations from their table.

/// Defines [`Operation`](super::Operation) from the listed files and types: each type implements
/// [`OperationKind`](super::operation_kind::OperationKind).
macro_rules! operations {
    ($($file:ident: $kind:ident($type:ident)),+ $(,)?) => {
        $(mod $file;)+

        pub use {$($file::$type),+};

        /// A change to the instance, made in the transaction of its transition.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Operation {
            $(#[doc = concat!("`", stringify!($file), ":`")] $kind($type),)+
        }

        /// The keys of all operations.
        const KEYS: &[&str] = &[$($type::KEY),+];

        impl Operation {
            fn parse_one(key: &str, node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
                $(if key == $type::KEY {
                    return $type::parse(node, names, faults).map(Self::$kind);
                })+
                None
            }

            /// Returns the counter that the operation with this key names.
            pub(crate) fn counter_named<'n>(key: &str, node: &'n SourceNode) -> Option<&'n str> {
                $(if key == $type::KEY {
                    return $type::counter(node);
                })+
                None
            }

            /// Applies the change.
            pub(crate) fn apply(&self, change: &mut OperationContext<'_>) {
                match self { $(Self::$kind(operation) => operation.apply(change),)+ }
            }

            /// Describes the operation in words.
            #[must_use]
            pub fn describe(&self) -> String {
                match self { $(Self::$kind(operation) => operation.describe(),)+ }
            }

            /// Returns the links that it sets.
            #[must_use]
            pub fn links_made(&self) -> Vec<&LinkName> {
                match self { $(Self::$kind(operation) => operation.links_made(),)+ }
            }

            /// Returns the event that it raises.
            #[must_use]
            pub fn declared_raise(&self) -> Option<DeclaredRaise<'_>> {
                match self { $(Self::$kind(operation) => operation.declared_raise(),)+ }
            }

            /// Returns its effect on counters.
            #[must_use]
            pub fn counter_effect(&self) -> CounterEffect<'_> {
                match self { $(Self::$kind(operation) => operation.counter_effect(),)+ }
            }
        }
    };
}

pub(super) use operations;

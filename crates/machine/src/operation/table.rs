//! The table of operations, and what follows from it.

/// Makes [`Operation`](super::Operation) of the files and types that are listed: each type is an
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

        /// The keys that operations are written with.
        const KEYS: &[&str] = &[$($type::KEY),+];

        impl Operation {
            fn parse_one(key: &str, node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
                $(if key == $type::KEY {
                    return $type::parse(node, names, faults).map(Self::$kind);
                })+
                None
            }

            /// The counter that is named after the key of an operation.
            pub(crate) fn counter_named<'n>(key: &str, node: &'n SourceNode) -> Option<&'n str> {
                $(if key == $type::KEY {
                    return $type::counter(node);
                })+
                None
            }

            /// Makes the change.
            pub(crate) fn apply(&self, change: &mut OperationContext<'_>) {
                match self { $(Self::$kind(operation) => operation.apply(change),)+ }
            }

            /// It in words.
            #[must_use]
            pub fn describe(&self) -> String {
                match self { $(Self::$kind(operation) => operation.describe(),)+ }
            }

            /// The links that it makes.
            #[must_use]
            pub fn links_made(&self) -> Vec<&LinkName> {
                match self { $(Self::$kind(operation) => operation.links_made(),)+ }
            }

            /// What it raises.
            #[must_use]
            pub fn declared_raise(&self) -> Option<DeclaredRaise<'_>> {
                match self { $(Self::$kind(operation) => operation.declared_raise(),)+ }
            }

            /// What it does to counters.
            #[must_use]
            pub fn counter_effect(&self) -> CounterEffect<'_> {
                match self { $(Self::$kind(operation) => operation.counter_effect(),)+ }
            }
        }
    };
}

pub(super) use operations;

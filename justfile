# What one types daily; CONTRIBUTING.md says more. `just` alone lists the recipes.

_list:
    @{{just_executable()}} --list --unsorted

# Runs lifeguard from this checkout: the demo, or any other command
run *args="demo":
    cargo run --locked --release -- {{args}}

# Runs all tests
test:
    cargo test --locked --workspace

# Runs the tests whose name contains NAME
test-one name:
    cargo test --locked --workspace -- {{name}}

# Checks formatting, lints and documentation
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

# Runs a proof at full length: hostile, power-cycles, databases or firmware (docs/proofs.md)
proof name:
    .ci/proof {{name}}

# Runs the short benchmark; further options are passed on
bench *args="--quick":
    cargo run --locked --profile dist -p lifeguard-bench -- {{args}}

# Regenerates .sqlx from a migrated private database
sqlx:
    .ci/sqlx

# Makes a picture of a page, such as http://127.0.0.1:8080/, by headless Chromium
screenshot url file:
    .ci/screenshot {{url}} {{file}}

# Makes the documentation of the code
docs:
    cargo doc --locked --workspace --no-deps --document-private-items

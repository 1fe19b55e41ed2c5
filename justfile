# `just proof NAME` runs a proof at full length; docs/proofs.md says what each one shows, and the same as plain commands.

# Runs one of: hostile, databases, firmware
proof name:
    .ci/proof {{name}}

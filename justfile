# What CI checks, by name. `.ci/run` has the commands and runs without `just`.

# Lists the recipes.
default:
    @just --list

# Runs everything that CI runs.
ci:
    .ci/run

# Checks the format; `cargo fmt --all` mends it.
fmt:
    .ci/run fmt

# Runs Clippy on the workspace, and on fl-sharing without a GPU.
lint:
    .ci/run lint

# Builds the documentation; a broken link is an error.
doc:
    .ci/run doc

# Checks that the relay builds without the rest of the workspace.
relay-alone:
    .ci/run relay-alone

# Runs Clippy on the node without GPU support.
no-gpu:
    .ci/run no-gpu

# Runs the README's test command with a GPU in software, which it installs if need be.
test:
    .ci/run test

# Checks the fuzz targets, over their corpora and with libFuzzer for some seconds each.
fuzz:
    .ci/run fuzz

# Checks licences, sources and advisories with cargo-deny, where it is installed.
deny:
    .ci/run deny

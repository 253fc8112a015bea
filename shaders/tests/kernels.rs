//! Every kernel is valid WGSL, is what the table says, and has a twin. No GPU is needed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fl_shaders::TAG_BLOCK;
use fl_shaders::kernel::{self, Binding, Kernel};
use fl_shaders::uniform::{Shares, Tagging};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Stems of the files in a folder that end in `extension`.
fn stems(folder: &Path, extension: &str) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn parse(source: &str) -> Module {
    naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)))
}

fn validate(module: &Module) -> Result<ModuleInfo, String> {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(module)
        .map_err(|error| error.into_inner().to_string())
}

fn reflected(module: &Module) -> Vec<(u32, Binding)> {
    let mut bindings: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.as_ref()?;
            assert_eq!(binding.group, 0);
            let found = match variable.space {
                AddressSpace::Uniform => {
                    let bytes = module.types[variable.ty].inner.size(module.to_ctx());
                    Binding::Uniform {
                        bytes: bytes.into(),
                    }
                }
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                    Binding::ReadWrite
                }
                AddressSpace::Storage { .. } => Binding::Read,
                space => panic!("bound in {space:?}"),
            };
            Some((binding.binding, found))
        })
        .collect();
    bindings.sort_by_key(|(number, _)| *number);
    bindings
}

fn assert_is_what_the_table_says(kernel: &Kernel) {
    let module = parse(kernel.source);
    validate(&module).unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
    let [entry] = module.entry_points.as_slice() else {
        panic!("{}: one entry point", kernel.name);
    };
    assert_eq!(entry.name, kernel.name);
    assert_eq!(entry.stage, ShaderStage::Compute);
    assert_eq!(entry.workgroup_size, [kernel::WORKGROUP_SIZE, 1, 1]);
    let expected: Vec<_> = (0..).zip(kernel.bindings.iter().copied()).collect();
    assert_eq!(reflected(&module), expected, "{}", kernel.name);
    let overrides = module.overrides.iter();
    let names: Vec<_> = overrides
        .map(|(_, constant)| constant.name.as_deref())
        .collect();
    assert_eq!(names, [Some(kernel::WIDE)], "{}", kernel.name);
}

#[test]
fn every_kernel_is_valid_and_is_what_the_table_says() {
    for kernel in &kernel::ALL {
        assert_is_what_the_table_says(kernel);
    }
}

#[test]
fn the_table_holds_every_file_and_every_file_has_a_twin() {
    let files = stems(&root().join("wgsl"), "wgsl");
    let table: BTreeSet<_> = kernel::ALL
        .iter()
        .map(|kernel| kernel.name.to_owned())
        .collect();
    assert_eq!(files, table);
    let twins = stems(&root().join("src/cpu"), "rs");
    let missing: Vec<_> = files.difference(&twins).collect();
    assert!(missing.is_empty(), "no src/cpu/<stem>.rs for {missing:?}");
    assert!(twins.contains("chacha20"));
}

#[test]
fn every_shared_file_is_used() {
    let folder = root().join("wgsl/shared");
    for stem in stems(&folder, "wgsl") {
        let text = fs::read_to_string(folder.join(&stem).with_extension("wgsl")).unwrap();
        let used = kernel::ALL
            .iter()
            .any(|kernel| kernel.source.contains(&text));
        assert!(used, "wgsl/shared/{stem}.wgsl");
    }
}

#[test]
fn constants_are_those_of_rust() {
    let constant = |kernel: &Kernel, name: &str| {
        let module = parse(kernel.source);
        let constants = module.constants.iter();
        let init = constants
            .filter(|(_, constant)| constant.name.as_deref() == Some(name))
            .map(|(_, constant)| &module.global_expressions[constant.init])
            .next();
        match init {
            Some(naga::Expression::Literal(naga::Literal::U32(value))) => *value,
            other => panic!("{name} is {other:?}"),
        }
    };
    let mask = |name| constant(&kernel::MASK, name);
    assert_eq!(mask("WORKGROUP_SIZE"), kernel::WORKGROUP_SIZE);
    assert_eq!(mask("SHARES_MAX") as usize, Shares::MAX);
    let tag = |name| constant(&kernel::TAG, name);
    assert_eq!(tag("RUN"), Tagging::RUN);
    assert_eq!(tag("BLOCK_ELEMENTS") as usize, TAG_BLOCK);
}

/// Negative control: text that is no WGSL, a type error, and a store to a read-only buffer are all
/// refused.
#[test]
fn what_is_not_valid_is_refused() {
    let refused = |source: &str| match naga::front::wgsl::parse_str(source) {
        Ok(module) => validate(&module).is_err(),
        Err(_) => true,
    };
    let source = kernel::DEQUANTIZE.source;
    assert!(!refused(source));
    let body = "mean[index] =";
    assert!(source.contains(body));
    for replacement in ["mean[index] ==", "mean[index] = 0.5 *", "vector[index] ="] {
        assert!(refused(&source.replace(body, replacement)), "{replacement}");
    }
}

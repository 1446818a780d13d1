//! On macOS an extension finds the symbols of the interpreter only when it is loaded; the linker has to be told.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}

//! Tells cargo that the migrations are part of the binary: without this, a new file in the folder rebuilds nothing.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=build.rs");
}

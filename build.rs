//! The migrations are put into the binary: a new one is a reason to build it again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

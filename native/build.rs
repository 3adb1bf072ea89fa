//! Tells the linker what a Node-API library needs.

fn main() {
    napi_build::setup();
}

//! Builds libzmq 4.3.5 as its own CMake build does in Release on Linux.
//!
//! `zeromq-src` compiles the files without CMake's probes of the system, so what those would find is given here:
//! without it libzmq wakes its threads through a socket pair instead of an eventfd, and would be slower than the one
//! that people install.

fn main() {
    let mut flags = std::env::var("CXXFLAGS").unwrap_or_default();
    flags.push_str(" -DNDEBUG -DHAVE_POSIX_MEMALIGN=1 -DZMQ_CACHELINE_SIZE=64");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        flags.push_str(" -DZMQ_HAVE_EVENTFD -DZMQ_HAVE_EVENTFD_CLOEXEC -DZMQ_HAVE_SOCK_CLOEXEC -DHAVE_ACCEPT4");
    }
    // SAFETY: a build script has one thread here.
    unsafe { std::env::set_var("CXXFLAGS", flags) };
    zeromq_src::Build::new().build();
    println!("cargo:rerun-if-changed=build.rs");
}

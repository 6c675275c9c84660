//! A network of our own, so that the loopback of a run is alone and behaves alike on every machine.

use std::fs;
use std::io;
use std::mem;

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// Never delays what may be sent. BBR, the default of some machines, paces it by timers even over loopback, and then
/// the process that happens to be interrupted does the sending: neither rates nor CPU times mean anything.
const UNPACED: &str = "reno";

/// Moves this process and those that it starts to a network namespace with nothing but a loopback interface. Needs
/// root; must be called before there is a second thread.
pub fn isolate() -> io::Result<()> {
    // SAFETY: no arguments by reference.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    raise_loopback()?;
    fs::write(CONGESTION, UNPACED)
}

/// What the sockets of this process use.
pub fn congestion_control() -> String {
    fs::read_to_string(CONGESTION).unwrap_or_default().trim().to_owned()
}

fn raise_loopback() -> io::Result<()> {
    // SAFETY: all zeros is a valid request; the name is shorter than its field and ends in NUL; the descriptor is
    // ours and closed once.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(socket)?;
        let result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request));
        libc::close(socket);
        result
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

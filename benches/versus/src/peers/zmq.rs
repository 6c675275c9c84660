//! The part of libzmq's C interface that is needed here.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::ptr;

pub const DEALER: c_int = 5;
pub const ROUTER: c_int = 6;
pub const PULL: c_int = 7;
pub const PUSH: c_int = 8;
pub const SNDHWM: c_int = 23;
pub const RCVHWM: c_int = 24;
pub const ROUTER_MANDATORY: c_int = 33;
pub const DONTWAIT: c_int = 1;
pub const SNDMORE: c_int = 2;
const LAST_ENDPOINT: c_int = 32;
const IO_THREADS: c_int = 1;

#[repr(C, align(8))]
struct RawMessage([u8; 64]);

unsafe extern "C" {
    fn zmq_ctx_new() -> *mut c_void;
    fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    fn zmq_setsockopt(socket: *mut c_void, option: c_int, value: *const c_void, len: usize) -> c_int;
    fn zmq_getsockopt(socket: *mut c_void, option: c_int, value: *mut c_void, len: *mut usize) -> c_int;
    fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    fn zmq_send(socket: *mut c_void, octets: *const c_void, len: usize, flags: c_int) -> c_int;
    fn zmq_msg_init(message: *mut RawMessage) -> c_int;
    fn zmq_msg_copy(to: *mut RawMessage, from: *mut RawMessage) -> c_int;
    fn zmq_msg_close(message: *mut RawMessage) -> c_int;
    fn zmq_msg_data(message: *mut RawMessage) -> *mut c_void;
    fn zmq_msg_size(message: *const RawMessage) -> usize;
    fn zmq_msg_more(message: *const RawMessage) -> c_int;
    fn zmq_msg_recv(message: *mut RawMessage, socket: *mut c_void, flags: c_int) -> c_int;
    fn zmq_msg_send(message: *mut RawMessage, socket: *mut c_void, flags: c_int) -> c_int;
    fn zmq_errno() -> c_int;
    fn zmq_strerror(error: c_int) -> *const c_char;
    fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
}

fn check(result: c_int) -> io::Result<()> {
    if result >= 0 {
        return Ok(());
    }
    // SAFETY: both functions are safe to call at any time; the text is static.
    let (error, text) = unsafe {
        let error = zmq_errno();
        (error, CStr::from_ptr(zmq_strerror(error)))
    };
    match error {
        libc::EAGAIN => Err(io::ErrorKind::WouldBlock.into()),
        libc::EINTR => Err(io::ErrorKind::Interrupted.into()),
        libc::EHOSTUNREACH => Err(io::ErrorKind::HostUnreachable.into()),
        _ => Err(io::Error::other(text.to_string_lossy())),
    }
}

/// A `zmq_msg_t`. Its content is never moved by Rust while libzmq looks at it.
pub struct Message(Box<RawMessage>);

impl Message {
    pub fn new() -> Message {
        let mut raw = Box::new(RawMessage([0; 64]));
        // SAFETY: initialises 64 octets that are ours.
        unsafe { zmq_msg_init(&mut *raw) };
        Message(raw)
    }

    /// Takes over the content of `from`, which is shared and not copied if it is long.
    pub fn share(&mut self, from: &mut Message) -> io::Result<()> {
        // SAFETY: both are initialised.
        check(unsafe { zmq_msg_copy(&mut *self.0, &mut *from.0) })
    }

    pub fn octets(&mut self) -> &[u8] {
        // SAFETY: data and size describe what the message owns as long as it is not changed.
        unsafe { std::slice::from_raw_parts(zmq_msg_data(&mut *self.0).cast(), zmq_msg_size(&*self.0)) }
    }

    pub fn more(&self) -> bool {
        // SAFETY: initialised.
        unsafe { zmq_msg_more(&*self.0) != 0 }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: initialised, and closed once.
        unsafe { zmq_msg_close(&mut *self.0) };
    }
}

/// A socket whose context lives until the process ends.
pub struct Socket(*mut c_void);

impl Socket {
    pub fn new(kind: c_int, io_threads: c_int) -> io::Result<Socket> {
        // SAFETY: a null context or socket is an error that is looked at.
        let socket = unsafe {
            let context = zmq_ctx_new();
            check(zmq_ctx_set(context, IO_THREADS, io_threads))?;
            zmq_socket(context, kind)
        };
        check(if socket.is_null() { -1 } else { 0 })?;
        Ok(Socket(socket))
    }

    pub fn set(&self, option: c_int, value: c_int) -> io::Result<()> {
        // SAFETY: the options used here take an int.
        check(unsafe { zmq_setsockopt(self.0, option, ptr::from_ref(&value).cast(), size_of::<c_int>()) })
    }

    /// Binds and returns the endpoint that it really got.
    pub fn bind(&self, endpoint: &str) -> io::Result<String> {
        let endpoint = CString::new(endpoint)?;
        let mut buffer = [0u8; 256];
        let mut len = buffer.len();
        // SAFETY: the endpoint ends in NUL; libzmq writes at most `len` octets.
        unsafe {
            check(zmq_bind(self.0, endpoint.as_ptr()))?;
            check(zmq_getsockopt(self.0, LAST_ENDPOINT, buffer.as_mut_ptr().cast(), &mut len))?;
        }
        let text = CStr::from_bytes_until_nul(&buffer).map_err(io::Error::other)?;
        Ok(text.to_string_lossy().into_owned())
    }

    pub fn connect(&self, endpoint: &str) -> io::Result<()> {
        let endpoint = CString::new(endpoint)?;
        // SAFETY: the endpoint ends in NUL.
        check(unsafe { zmq_connect(self.0, endpoint.as_ptr()) })
    }

    /// Sends a message of one frame, a copy of these octets.
    pub fn send_octets(&self, octets: &[u8]) -> io::Result<()> {
        // SAFETY: libzmq copies as many octets as there are.
        check(unsafe { zmq_send(self.0, octets.as_ptr().cast(), octets.len(), 0) })
    }

    pub fn receive(&self, message: &mut Message, flags: c_int) -> io::Result<()> {
        // SAFETY: both are alive.
        check(unsafe { zmq_msg_recv(&mut *message.0, self.0, flags) })
    }

    /// Sends and empties the message.
    pub fn send(&self, message: &mut Message, flags: c_int) -> io::Result<()> {
        // SAFETY: both are alive.
        check(unsafe { zmq_msg_send(&mut *message.0, self.0, flags) })
    }
}

/// The version of the libzmq that this program was linked with.
pub fn version() -> String {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: writes three ints.
    unsafe { zmq_version(&mut major, &mut minor, &mut patch) };
    format!("{major}.{minor}.{patch}")
}

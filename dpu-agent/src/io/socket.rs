//! Unix sockets whose path may be longer than the kernel takes.

use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// Bytes that fit into the address of a unix socket, the final zero not counted.
const ADDRESS: usize = 107;

/// Connects to the socket at `path`.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= ADDRESS {
        return UnixStream::connect(path).await;
    }
    // The directory is opened and named by its descriptor, which is short.
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a socket names no file",
        ));
    };
    let directory = std::fs::File::open(directory)?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let short = Path::new("/proc/self/fd")
        .join(descriptor.to_string())
        .join(name);
    UnixStream::connect(short).await
}

//! Players on the WebSocket relay of the same server: one socket each, all in one channel.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;

use anyhow::Context as _;
use tungstenite::{Error, Message, WebSocket};

use super::{Heard, Players};
use crate::clock::wall_ns;
use crate::process::Server;

/// See the module.
pub(super) struct Relay {
    server: Server,
    sockets: Vec<WebSocket<TcpStream>>,
}

impl Relay {
    /// A fresh server, and so many players who have joined.
    pub(super) fn start(binary: &Path, cpus: &[usize], players: usize) -> anyhow::Result<Self> {
        let server = Server::switchyard(binary, 1, cpus)?;
        let sockets = (0..players).map(|_| join(&server)).collect::<Result<_, _>>()?;
        Ok(Self { server, sockets })
    }
}

fn join(server: &Server) -> anyhow::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    let (mut socket, _) =
        tungstenite::client(format!("ws://{}/channel", server.address), stream)
            .map_err(|error| anyhow::anyhow!("the WebSocket does not open: {error}"))?;
    socket.send(Message::text(r#"{"open":true,"channel":"game"}"#))?;
    socket.get_ref().set_nonblocking(true)?;
    Ok(socket)
}

impl Players for Relay {
    fn say(&mut self, player: usize, message: &str) -> anyhow::Result<()> {
        let message = format!(r#"{{"channel":"game","data":"{message}"}}"#);
        self.sockets[player].send(Message::text(message)).context("the relay takes no message")
    }

    fn work(&mut self, heard: &mut Heard) -> anyhow::Result<()> {
        for socket in &mut self.sockets {
            loop {
                match socket.read() {
                    // A JSON text: the message between quotes.
                    Ok(Message::Text(text)) => {
                        heard.take(text.as_bytes().get(1..).unwrap_or_default(), wall_ns());
                    }
                    Ok(_) => {}
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("a socket of the relay broke"),
                }
            }
        }
        Ok(())
    }

    fn server_pid(&self) -> u32 {
        self.server.pid()
    }
}

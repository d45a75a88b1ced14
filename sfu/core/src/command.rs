//! What control may ask of a worker's engine. Commands of one transport are executed in the order in which they were sent.

use crate::params::{
    Binding, ConsumerParams, Demand, ExtensionMapping, IceCredentials, PreferredLayer,
    ProducerParams, TransportParams,
};
use crate::{ConsumerId, DataMessage, DataParams, ProducerId, RouterId, TransportId, WorkerId};

/// A command. An id that is unknown (already closed) makes the command a counted no-op.
#[derive(Clone, Debug)]
pub enum Command {
    /// New peer connection; the router exists as long as it has transports.
    CreateTransport {
        /// Its id.
        transport: TransportId,
        /// Its room.
        router: RouterId,
        /// ICE, DTLS, SCTP.
        params: Box<TransportParams>,
    },
    /// New ICE credentials on both sides; media goes on over the old pair until a new one is proved.
    RestartIce {
        /// Which.
        transport: TransportId,
        /// Our new credentials.
        local_ice: IceCredentials,
        /// The peer's new credentials.
        remote_ice: IceCredentials,
    },
    /// Header extension ids on this peer connection (replaces the previous list). RFC 8843 makes them the same on all m-lines of a bundle.
    ConfigureTransport {
        /// Which.
        transport: TransportId,
        /// All negotiated ids.
        header_extensions: Vec<ExtensionMapping>,
    },
    /// Ends a peer connection with all of its producers and consumers.
    CloseTransport {
        /// Which.
        transport: TransportId,
    },
    /// New incoming track.
    CreateProducer {
        /// Whose.
        transport: TransportId,
        /// Its id.
        producer: ProducerId,
        /// What.
        params: Box<ProducerParams>,
    },
    /// A track whose publisher is on another worker, to be consumed here. It has the id that it has there. [`Command::CloseProducer`] and
    /// [`Command::PauseProducer`] go to every worker that has the track.
    CreatePipedProducer {
        /// Its id.
        producer: ProducerId,
        /// The publisher's worker.
        from: WorkerId,
        /// What it is there. SSRCs and MID mean nothing here.
        params: Box<ProducerParams>,
    },
    /// At the publisher's worker: hands the track on to a worker that has, or will have, a piped producer for it.
    OpenPipe {
        /// Which.
        producer: ProducerId,
        /// The worker that has consumers.
        to: WorkerId,
    },
    /// At the publisher's worker: nobody over there consumes the track any more. The end of the track does the same.
    ClosePipe {
        /// Which.
        producer: ProducerId,
        /// The worker that had consumers.
        to: WorkerId,
    },
    /// Server-side mute: the producer's packets are received and counted, but not forwarded.
    PauseProducer {
        /// Which.
        producer: ProducerId,
        /// On or off.
        paused: bool,
    },
    /// Ends an incoming track; consumers bound to it stay as unbound slots.
    CloseProducer {
        /// Which.
        producer: ProducerId,
    },
    /// New slot.
    CreateConsumer {
        /// Whose.
        transport: TransportId,
        /// Its id.
        consumer: ConsumerId,
        /// What.
        params: Box<ConsumerParams>,
    },
    /// Ends a slot. Its SSRCs are never used again on this transport.
    CloseConsumer {
        /// Which.
        consumer: ConsumerId,
    },
    /// Shows a track in a slot, or nothing.
    BindConsumer {
        /// The slot.
        consumer: ConsumerId,
        /// The track; `None` unbinds.
        binding: Option<Binding>,
    },
    /// The client applied the answer: its paused consumers may send now.
    ResumeConsumers {
        /// Which.
        transport: TransportId,
    },
    /// Manual layer choice.
    SetPreferredLayer {
        /// The slot.
        consumer: ConsumerId,
        /// Wish.
        layer: PreferredLayer,
    },
    /// What the subscriber has use for; holds until the slot is bound anew.
    SetDemand {
        /// The slot.
        consumer: ConsumerId,
        /// What.
        demand: Demand,
    },
    /// A peer connection takes part in the data of its room, from now on like this.
    ConfigureData {
        /// Which.
        transport: TransportId,
        /// Who it is and what it may do.
        params: Box<DataParams>,
    },
    /// Where else a room has peer connections: data goes there too. To be told again with each new peer connection, because
    /// a room is forgotten with its last one.
    LinkRouter {
        /// The room.
        router: RouterId,
        /// All other workers that have peer connections of it.
        workers: Vec<WorkerId>,
        /// Control wants every message, for participants without peer connection.
        tapped: bool,
    },
    /// Data of a participant that has no channel for it: for all peer connections of the room on this worker.
    SendData {
        /// The room.
        router: RouterId,
        /// What.
        message: Box<DataMessage>,
    },
    /// Answered by [`crate::Event::Stats`] with the same number.
    RequestStats {
        /// Which.
        transport: TransportId,
        /// Echoed.
        request: u64,
    },
}

//! The way into a room: with a token, or with what an earlier socket was told.

use crate::auth::{AuthError, Grant, Secret};
use crate::http::AppState;
use crate::protocol::{ErrorCode, Join, ParticipantId, Resume, ServerMessage, VERSION};
use crate::room::{
    JoinCommand, OutboxReader, Outgoing, Refusal, ResumeRequest, Resumption, RoomCommand,
    RoomHandle, SocketCommand, Unresumable, nothing_to_resume, outbox,
};

/// Who has joined what.
pub(crate) struct Membership {
    pub(crate) room: RoomHandle,
    room_name: String,
    pub(crate) participant: ParticipantId,
    /// Which of the participant's sockets this is.
    socket: u32,
    /// The token's.
    identity: Option<String>,
}

impl Membership {
    /// Queues a command, unless a newer socket speaks for the participant.
    pub(crate) async fn send(&self, command: RoomCommand) {
        let command = SocketCommand::Room(command);
        self.room.send_from(self.participant, self.socket, command).await;
    }

    /// The client has the events until this one.
    pub(crate) async fn confirm(&self, event: u64) {
        let command = SocketCommand::Confirm(event);
        self.room.send_from(self.participant, self.socket, command).await;
    }
}

/// Somebody who is in.
pub(crate) struct Entered {
    pub(crate) membership: Membership,
    pub(crate) outbox: OutboxReader,
    /// To be said before what is in the outbox.
    pub(crate) first: Vec<Outgoing>,
}

/// Goes on where another socket ended. No token is asked for: the secret was given to whoever had one, and the room knows what has
/// become of it. Nor is anybody turned away because the server is busy or about to stop.
pub(super) async fn resume(state: &AppState, resume: Resume) -> Result<Entered, Unresumable> {
    check_version(resume.version)?;
    let Resume { request, room: room_name, participant, secret, event, .. } = resume;
    let room = state.registry.find(&room_name).ok_or_else(nothing_to_resume)?;
    let (sender, outbox) = outbox();
    let asked = ResumeRequest { participant, secret: Secret::new(secret), event };
    let answer = room.resume(asked, sender).await.ok_or_else(nothing_to_resume)??;
    let Resumption { resumed, socket, missed } = answer;
    let answer = ServerMessage::Resumed {
        request,
        participant,
        secret: resumed.secret,
        taken: resumed.taken,
    };
    let first = [Outgoing::unnumbered(&answer)].into_iter().chain(missed).collect();
    let identity = resumed.token_identity;
    let membership = Membership { room, room_name, participant, socket, identity };
    Ok(Entered { membership, outbox, first })
}

fn check_version(version: u32) -> Result<(), Refusal> {
    if version == VERSION {
        return Ok(());
    }
    let text = format!("This server speaks version {VERSION} of the protocol.");
    Err(Refusal::new(ErrorCode::Version, text))
}

/// Checks version and token, and enters the room.
pub(crate) async fn enter(state: &AppState, join: Join) -> Result<Entered, Refusal> {
    check_version(join.version)?;
    let grant = state.access.verify(join.token.as_deref(), &join.room).map_err(token_refused)?;
    let token_identity = grant.identity.clone();
    let identity = token_identity.clone().or(join.identity).unwrap_or_else(crate::random::id);
    let command = JoinCommand {
        request: join.request,
        identity,
        name: grant.name.clone().unwrap_or(join.name),
        grant,
        max_audio: join.max_audio,
        max_video: join.max_video,
        compact: join.compact,
    };
    let (sender, outbox) = outbox();
    let (room, participant) = state
        .registry
        .join(&join.room, command, sender)
        .await
        .map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    let (room_name, identity) = (join.room, token_identity);
    let membership = Membership { room, room_name, participant, socket: 0, identity };
    Ok(Entered { membership, outbox, first: Vec::new() })
}

/// What a newer token allows: it has to be for the same room and identity.
pub(crate) fn renewed(
    state: &AppState,
    membership: &Membership,
    token: &str,
) -> Result<Grant, Refusal> {
    let grant = state.access.verify(Some(token), &membership.room_name).map_err(token_refused)?;
    if grant.identity != membership.identity {
        let text = "The token is for another identity; leave, and join with it.";
        return Err(Refusal::new(ErrorCode::NotAllowed, text));
    }
    Ok(grant)
}

fn token_refused(error: AuthError) -> Refusal {
    let code = match error {
        AuthError::Revoked | AuthError::Banned(_) => ErrorCode::NotAllowed,
        _ => ErrorCode::Unauthorized,
    };
    Refusal::new(code, error.to_string())
}

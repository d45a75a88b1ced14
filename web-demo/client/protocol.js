/**
 * @module
 * The messages of signaling/PROTOCOL.md as types. Types only: the browser never loads this file.
 */

/** @typedef {'audio' | 'video'} Kind */
/** @typedef {'camera' | 'microphone' | 'screen_share' | 'screen_share_audio'} Source */
/** @typedef {{rid: string, width: number, height: number}} LayerSize */
/** @typedef {{audio: number, video: number}} MediaSections */

/**
 * @typedef {object} TrackInfo
 * @property {string} track
 * @property {number} number the CSRC of every packet of this track
 * @property {Kind} kind
 * @property {Source} source
 * @property {string} name
 * @property {string} codec
 * @property {boolean} muted
 * @property {boolean} simulcast
 * @property {string[]} layers rids, lowest first
 * @property {boolean} [encrypted] sealed end to end
 */

/**
 * @typedef {object} ParticipantInfo
 * @property {string} participant
 * @property {string} identity
 * @property {string} name
 * @property {'active' | 'reconnecting'} state
 * @property {string} [metadata]
 * @property {Record<string, string>} [attributes]
 * @property {boolean} [moderator]
 * @property {number} [hand]
 * @property {string} [status]
 * @property {TrackInfo[]} tracks
 */

/** @typedef {{can_publish: boolean, can_subscribe: boolean, can_publish_data: boolean, can_update_metadata?: boolean, can_publish_sources?: Source[]}} Permissions */
/** @typedef {Partial<Permissions>} PermissionChange */
/** @typedef {{state?: 'active' | 'reconnecting', name?: string, metadata?: string, attributes?: Record<string, string>, moderator?: boolean, hand?: number, status?: string}} ParticipantChanges */

/**
 * @typedef {object} Welcome
 * @property {'welcome'} type
 * @property {string} room
 * @property {string} participant
 * @property {string} identity
 * @property {string} secret for `resume`
 * @property {RTCIceServer[]} ice_servers
 * @property {MediaSections} media_sections
 * @property {boolean} can_publish
 * @property {boolean} can_subscribe
 * @property {boolean} can_publish_data
 * @property {Source[]} [can_publish_sources]
 * @property {string} [metadata]
 * @property {boolean} [locked]
 * @property {boolean} [lobby]
 * @property {boolean} [moderator]
 * @property {number} [hand]
 * @property {string} [status]
 * @property {ParticipantInfo[]} participants
 */

/** @typedef {{message: string, identity: string, name: string, time: number, text: string, to?: string[]}} ChatMessage milliseconds since 1970; without `to` for all */
/** @typedef {{type: 'chat_message'} & ChatMessage} ChatMessageMessage */
/** @typedef {{type: 'chat_history', messages: ChatMessage[]}} ChatHistory */
/** @typedef {{type: 'chat_deleted', message: string, by?: string, reason?: string}} ChatDeleted `by`: the moderator's identity */
/** @typedef {{type: 'participant_typing', participant: string, typing: boolean}} ParticipantTyping */
/** @typedef {{type: 'reaction', participant: string, reaction: string}} Reaction */
/** @typedef {{action: string, by?: string, identity?: string, track?: string, on?: boolean, reason?: string}} Moderated identities; what does not apply is absent */
/** @typedef {{type: 'moderated'} & Moderated} ModeratedMessage */
/** @typedef {{type: 'lobby', waiting: {identity: string, name: string}[]}} Lobby */
/** @typedef {{type: 'waiting', room: string, identity: string, place: number}} Waiting */
/** @typedef {{identity: string, name?: string, seconds: number, by?: string, reason?: string}} Ban */
/** @typedef {{type: 'bans', bans: Ban[]}} Bans */
/** @typedef {ChatMessageMessage | ChatHistory | ChatDeleted | ParticipantTyping | Reaction | ModeratedMessage | Lobby | Waiting | Bans} SocialMessage */

/** @typedef {{type: 'resumed', secret: string, taken: number}} Resumed */
/** @typedef {{type: 'answer', offer_id: number, sdp: string}} Answer */
/** @typedef {{type: 'published', mid: string, track: string, number: number}} Published */
/** @typedef {{type: 'ok'}} Ok */
/** @typedef {{type: 'error', code: string, message: string}} Failure */
/** @typedef {{mid: string, track: string | null, csrc: number | null}} Binding */
/** @typedef {{track: string, reason: 'slots' | 'unsubscribed' | 'not_allowed'}} Unbound */
/** @typedef {{type: 'bindings', bindings: Binding[], unbound: Unbound[]}} Bindings */
/** @typedef {{type: 'track_published', participant: string, track: TrackInfo}} TrackPublished */
/** @typedef {{type: 'track_unpublished', participant: string, track: string}} TrackUnpublished */
/** @typedef {{type: 'track_muted', participant: string, track: string, muted: boolean}} TrackMuted */
/** @typedef {{type: 'track_unavailable', track: string, codec: string, reason: string}} TrackUnavailable */
/** @typedef {{type: 'layer_changed', track: string, rid: string | null, temporal: number | null}} LayerChanged */
/** @typedef {'low' | 'normal' | 'high'} Priority */
/** @typedef {{track: string, width?: number, height?: number, fps?: number, paused?: boolean, priority?: Priority}} TrackSetting */
/** @typedef {{rid: string | null, spatial: number, temporal: number, width: number | null, height: number | null}} LayerName */
/** @typedef {'none' | 'bandwidth' | 'viewport' | 'policy' | 'publisher_not_sending' | 'publisher_cpu' | 'waiting_keyframe' | 'codec'} TrackLimit */

/**
 * @typedef {object} TrackStatus
 * @property {LayerName | null} wanted the best that there is use for here
 * @property {LayerName | null} shown what comes now
 * @property {TrackLimit} limit what keeps the track from its best
 * @property {number} needed bits per second, of `wanted`
 * @property {number} available bits per second, for this track and not for others at once; 0: the link has nothing for it
 */

/** @typedef {{type: 'track_status', track: string} & TrackStatus} TrackStatusMessage */
/**
 * What of a track somebody watches: encodings by rid, `''` for the one encoding of a track without layers; of that one so many spatial layers, and the most
 * bits per second.
 * @typedef {{layers: string[], spatial_layers?: number, max_bitrate?: number}} WatchedLayers
 */
/** @typedef {{type: 'published_layers', track: string} & WatchedLayers} PublishedLayers */
/** @typedef {{participant: string, track: string, level: number}} Speaker */
/** @typedef {{type: 'active_speakers', speakers: Speaker[]}} ActiveSpeakers */
/** @typedef {{type: 'participant_joined', participant: ParticipantInfo}} ParticipantJoined */
/** @typedef {{type: 'participant_updated', participant: string} & ParticipantChanges} ParticipantUpdated */
/** @typedef {{type: 'participant_left', participant: string, reason: string}} ParticipantLeft */
/** @typedef {{type: 'permissions'} & Permissions} PermissionsMessage */
/** @typedef {{type: 'room_updated', metadata?: string, locked?: boolean, lobby?: boolean}} RoomUpdated */
/** @typedef {{type: 'data', participant: string, identity: string, topic: string, reliable: boolean, text?: string, bytes?: string}} DataMessage */
/** @typedef {{type: 'data_closed', channel: string, reason: string, message: string}} DataClosed */
/** @typedef {{type: 'closing', seconds: number, message: string}} Closing */
/** @typedef {{type: 'closed', reason: string, message: string}} Closed */
/** @typedef {{type: 'pong', time: number}} Pong */
/** @typedef {{type: 'media_sections'} & MediaSections} MediaSectionsMessage */

/**
 * @typedef {{request?: number, event?: number} & (SocialMessage | Welcome | Resumed | Answer | Published | Ok | Failure | Bindings | TrackPublished
 *   | TrackUnpublished | TrackStatusMessage | PublishedLayers | TrackMuted | TrackUnavailable | LayerChanged | ActiveSpeakers | ParticipantJoined
 *   | ParticipantUpdated | ParticipantLeft | PermissionsMessage | RoomUpdated | DataMessage | DataClosed | Closing | Closed | Pong | MediaSectionsMessage)} ServerMessage
 */

export {};

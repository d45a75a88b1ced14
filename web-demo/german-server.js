/**
 * @module
 * The server's sentences that somebody at one of the pages may read, in German. It puts a value where `{name}` stands.
 */

/** @type {Record<string, string>} */
export const GERMAN_SERVER = {
  '{sentence} Reason: {reason}': '{sentence} Grund: {reason}',
  'You are banned from this room for another {count} minutes.': 'Du bist für weitere {count} Minuten aus diesem Raum verbannt.',
  'You are banned from this room for another {count} hours.': 'Du bist für weitere {count} Stunden aus diesem Raum verbannt.',
  'You are banned from this room for another {count} days.': 'Du bist für weitere {count} Tage aus diesem Raum verbannt.',
  'You were banned from this room by {name} for {count} minutes.': '{name} hat dich für {count} Minuten aus diesem Raum verbannt.',
  'You were banned from this room by {name} for {count} hours.': '{name} hat dich für {count} Stunden aus diesem Raum verbannt.',
  'You were banned from this room by {name} for {count} days.': '{name} hat dich für {count} Tage aus diesem Raum verbannt.',
  'You were banned from this room for {count} minutes.': 'Du wurdest für {count} Minuten aus diesem Raum verbannt.',
  'You were banned from this room for {count} hours.': 'Du wurdest für {count} Stunden aus diesem Raum verbannt.',
  'You were banned from this room for {count} days.': 'Du wurdest für {count} Tage aus diesem Raum verbannt.',
  'You were removed from this room.': 'Du wurdest aus diesem Raum entfernt.',
  'You were removed from this room by {name}.': '{name} hat dich aus diesem Raum entfernt.',
  'You were removed from this room; a token that was made before does not open it any more.':
    'Du wurdest aus diesem Raum entfernt; ein Zugangstoken von vorher öffnet ihn nicht mehr.',
  'You were not let into this room.': 'Du wurdest nicht in diesen Raum gelassen.',
  'The room was closed.': 'Der Raum wurde geschlossen.',
  'The room was closed by {name}.': '{name} hat den Raum geschlossen.',
  'The room is locked; its moderators let nobody new in.': 'Der Raum ist abgeschlossen; seine Moderatoren lassen niemanden mehr herein.',
  'The room is full: it has {count} participants.': 'Der Raum ist voll: Es sind {count} Personen darin.',
  '{count} people wait to be let in; come again later.': '{count} Personen warten schon auf Einlass; komm später wieder.',
  'The room has {count} viewers already.': 'Der Raum hat schon {count} Zuschauer.',
  'The server has as many rooms as it can hold.': 'Der Server hat so viele Räume, wie er fasst.',
  'The server has as much to do as it can; try again later, or on another one.':
    'Der Server ist ausgelastet; versuche es später wieder, oder auf einem anderen.',
  'The server stops or restarts.': 'Der Server hält an oder startet neu.',
  'The server will stop or restart; nobody new is let in.': 'Der Server wird anhalten oder neu starten; niemand wird mehr hereingelassen.',
  'You joined this room from another page or device.': 'Du hast diesen Raum auf einer anderen Seite oder einem anderen Gerät betreten.',
  'You came to this room from another page or device.': 'Du bist von einer anderen Seite oder einem anderen Gerät in diesen Raum gekommen.',
  'You wait to be let in.': 'Du wartest auf Einlass.',
  'This server needs a token; ask whoever runs it, or make one with `switchyard token`.':
    'Dieser Server verlangt ein Zugangstoken; frage, wer ihn betreibt, oder erzeuge eines mit `switchyard token`.',
  'The token is not a JSON Web Token with the claims iss, exp and video.': 'Das Token ist kein JSON Web Token mit den Angaben iss, exp und video.',
  'The token is not signed by a key of this server, in the way that belongs to the key.':
    'Das Token ist nicht mit einem Schlüssel dieses Servers unterschrieben, wie es zum Schlüssel gehört.',
  'The token has expired; ask for a new one.': 'Das Token ist abgelaufen; bitte um ein neues.',
  'The token is not valid yet; is a clock wrong?': 'Das Token gilt noch nicht; geht eine Uhr falsch?',
  'The token is not for this room.': 'Das Token gilt nicht für diesen Raum.',
  'The token does not allow joining (video.roomJoin).': 'Das Token erlaubt keinen Eintritt (video.roomJoin).',
  'The token does not allow this (video.{grant}).': 'Das Token erlaubt das nicht (video.{grant}).',
  'The token is for another identity; leave, and join with it.': 'Das Token gilt für eine andere Identität; geh, und komm mit ihm wieder.',
  'Your token has expired meanwhile; join with a new one.': 'Dein Token ist inzwischen abgelaufen; komm mit einem neuen wieder.',
  'You may not do this in the room any more.': 'Du darfst das in diesem Raum nicht mehr.',
  'You may not publish this any more.': 'Du darfst das nicht mehr senden.',
  'You may not publish (video.canPublish of the token).': 'Du darfst nichts senden (video.canPublish des Tokens).',
  'You may not publish from this source (video.canPublishSources of the token).': 'Du darfst aus dieser Quelle nichts senden (video.canPublishSources des Tokens).',
  'You may not send data (video.canPublishData of the token).': 'Du darfst keine Daten senden (video.canPublishData des Tokens).',
  'You may not say anything here (video.canPublishData of the token).': 'Du darfst hier nichts schreiben (video.canPublishData des Tokens).',
  'You may not subscribe (video.canSubscribe of the token).': 'Du darfst nichts empfangen (video.canSubscribe des Tokens).',
  'You may not change your name, metadata or attributes (video.canUpdateOwnMetadata of the token).':
    'Du darfst deinen Namen, deine Metadaten und Attribute nicht ändern (video.canUpdateOwnMetadata des Tokens).',
  'Only moderators may do this: with video.roomAdmin of the token, or made one by another moderator.':
    'Das dürfen nur Moderatoren: durch video.roomAdmin des Tokens, oder von einem anderen Moderator ernannt.',
  'They moderate by their token (video.roomAdmin), and you do not.': 'Diese Person moderiert durch ihr Token (video.roomAdmin), und du nicht.',
  'They moderate by their token (video.roomAdmin); give them another one.': 'Diese Person moderiert durch ihr Token (video.roomAdmin); gib ihr ein anderes.',
  'They were banned by the HTTP API, or by somebody who moderates by their token (video.roomAdmin); only those can change it.':
    'Diese Person wurde über die HTTP-API verbannt, oder von jemandem, der durch sein Token (video.roomAdmin) moderiert; nur von dort lässt es sich ändern.',
  'Somebody here moderates by their token (video.roomAdmin); only they can end the room.':
    'Hier moderiert jemand durch sein Token (video.roomAdmin); nur so jemand kann den Raum schließen.',
  'That is you: leave the room instead.': 'Das bist du selbst: Verlasse stattdessen den Raum.',
  'Whoever is hidden, or came by WHIP, cannot moderate.': 'Wer verborgen ist oder über WHIP kam, kann nicht moderieren.',
  'Somebody has to moderate: make somebody else a moderator first.': 'Jemand muss moderieren: Ernenne erst jemand anderen.',
  'Only its author and moderators may delete a message.': 'Eine Nachricht löschen dürfen nur, wer sie schrieb, und Moderatoren.',
  'There is no message {message}; it may have been deleted already.': 'Die Nachricht {message} gibt es nicht; vielleicht ist sie schon gelöscht.',
  'This room has {count} bans; lift one first.': 'In diesem Raum gelten {count} Verbannungen; hebe erst eine auf.',
  'Send data more slowly, or on a data channel.': 'Sende Daten langsamer, oder über einen Datenkanal.',
  'Too much at once; wait some seconds.': 'Zu viel auf einmal; warte einige Sekunden.',
  'Nobody publishes in this room now.': 'In diesem Raum sendet gerade niemand.',
  'This participant publishes nothing now.': 'Diese Person sendet gerade nichts.',
  'Nothing was heard of your media connection for 30 seconds.': 'Von deiner Medienverbindung kam 30 Sekunden lang nichts.',
  'The media connection did not come about; UDP to this server may be blocked.':
    'Die Medienverbindung kam nicht zustande; vielleicht ist UDP zu diesem Server gesperrt.',
  'The media connection could not be encrypted.': 'Die Medienverbindung ließ sich nicht verschlüsseln.',
  'The media connection ended by an error of the server.': 'Die Medienverbindung endete durch einen Fehler des Servers.',
  'Your side closed the media connection.': 'Deine Seite hat die Medienverbindung beendet.',
  'Too much has happened since the last event that you have; join again.': 'Seit dem letzten Ereignis, das du kennst, ist zu viel geschehen; tritt neu ein.',
  'There is nothing to resume with this secret; join again.': 'Hier lässt sich nichts fortsetzen; tritt neu ein.',
};

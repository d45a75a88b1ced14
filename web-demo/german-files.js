/**
 * @module
 * What is said about files, in German.
 */

/** @type {Record<string, string>} */
export const GERMAN_FILES = {
  'Send files…': 'Dateien senden …',
  'Messages and files are not encrypted end to end: the server could read them.': 'Nachrichten und Dateien sind nicht Ende-zu-Ende verschlüsselt: Der Server könnte sie lesen.',
  'Offered, {size}': 'Angeboten, {size}',
  'Waiting, {size}': 'Wartet, {size}',
  '{percent} % of {size}': '{percent} % von {size}',
  'Being checked, {size}': 'Wird geprüft, {size}',
  'Done, checksum equal, {size}': 'Fertig, Prüfsumme gleich, {size}',
  'Cancelled, {size}': 'Abgebrochen, {size}',
  'Failed, {size}': 'Gescheitert, {size}',
  'to {peer}': 'an {peer}',
  'from {peer}': 'von {peer}',
  'Progress of {name}': 'Fortschritt von {name}',
  '{peer} offers you the file {name}, {size}.': '{peer} bietet dir die Datei {name} an, {size}.',
  '{peer} offers you the file {name}: see the chat.': '{peer} bietet dir die Datei {name} an: siehe Chat.',
  Accept: 'Annehmen',
  Decline: 'Ablehnen',
  'Take back': 'Zurücknehmen',
  Save: 'Sichern',
  'The other is not there at the moment; it goes on by itself.': 'Die andere Person ist gerade nicht da; es geht von selbst weiter.',
  'You cancelled it.': 'Du hast es abgebrochen.',
  'The other cancelled it.': 'Die andere Person hat es abgebrochen.',
  'The other does not want it.': 'Die andere Person möchte sie nicht.',
  'It arrived damaged.': 'Sie kam beschädigt an.',
  'The file cannot be read any more.': 'Die Datei ist nicht mehr lesbar.',
  'Nothing was heard of the other for a minute.': 'Von der anderen Person war eine Minute lang nichts zu hören.',
  'More came than was asked for.': 'Es kam mehr, als verlangt war.',
  'You have left the room.': 'Du hast den Raum verlassen.',
  'The connection has ended.': 'Die Verbindung ist beendet.',
  'The file cannot be read.': 'Die Datei ist nicht lesbar.',
  'It is too large for this browser to check.': 'Sie ist zu groß, als dass dieser Browser sie prüfen könnte.',
  'Nobody is there to take the file.': 'Niemand ist da, der die Datei nähme.',
  everybody: 'alle',
};

/**
 * @module
 * What the client library says, in German.
 */

/** @type {Record<string, string>} */
export const GERMAN_CLIENT = {
  'The browser gives this page no camera or microphone, because it was not opened over https. Open it over https.': 'Der Browser gibt dieser Seite weder Kamera noch Mikrofon, weil sie nicht über https geöffnet wurde. Öffne sie über https.',
  'This browser has no access to cameras and microphones.': 'Dieser Browser hat keinen Zugang zu Kameras und Mikrofonen.',
  'The server cannot be reached. It may be stopped, or the network is down.': 'Der Server ist nicht erreichbar. Vielleicht wurde er angehalten, oder das Netz ist weg.',
  'The server is restarting. Reconnecting…': 'Der Server startet neu. Verbindet neu …',
  'The connection to the server was lost. Sound and picture go on meanwhile.': 'Die Verbindung zum Server ist abgerissen. Bild und Ton gehen indessen weiter.',
  'The connection to the server was lost. Reconnecting…': 'Die Verbindung zum Server ist abgerissen. Verbindet neu …',
  'Sound and picture were interrupted. Reconnecting…': 'Bild und Ton wurden unterbrochen. Verbindet neu …',
  'Sound and picture cannot reach the server. A firewall may block UDP.': 'Bild und Ton erreichen den Server nicht. Vielleicht sperrt eine Firewall UDP.',
  'The server could not be reached for two minutes.': 'Der Server war zwei Minuten lang nicht erreichbar.',
  'This browser cannot encrypt end to end. Firefox 117, Safari 15.4 and newer can, and recent Chromium, over https.': 'Dieser Browser kann nicht Ende-zu-Ende verschlüsseln. Firefox 117, Safari 15.4 und neuere können es, und neuere Chromium-Browser, über https.',
  'This browser plays where the system says; choose the speaker there.': 'Dieser Browser spielt dort, wo das System es sagt; wähle den Lautsprecher dort.',
  'This speaker cannot be used; it may have been unplugged.': 'Dieser Lautsprecher ist nicht benutzbar; vielleicht wurde er abgezogen.',
  'Your stream ended here, because another page or device took it over.': 'Dein Stream endete hier, weil eine andere Seite oder ein anderes Gerät ihn übernahm.',
  'The other has left.': 'Die andere Person ist gegangen.',
  'The browser was not allowed to use your camera. You can allow it with the icon beside the address.': 'Der Browser durfte deine Kamera nicht benutzen. Erlaube es mit dem Zeichen neben der Adresse.',
  'Your camera cannot be opened; another program may be using it.': 'Deine Kamera lässt sich nicht öffnen; vielleicht benutzt ein anderes Programm sie.',
  'The browser was not allowed to use your microphone. You can allow it with the icon beside the address.': 'Der Browser durfte dein Mikrofon nicht benutzen. Erlaube es mit dem Zeichen neben der Adresse.',
  'Your microphone cannot be opened; another program may be using it.': 'Dein Mikrofon lässt sich nicht öffnen; vielleicht benutzt ein anderes Programm es.',
  'The browser was not allowed to use your camera and microphone. You can allow it with the icon beside the address.': 'Der Browser durfte Kamera und Mikrofon nicht benutzen. Erlaube es mit dem Zeichen neben der Adresse.',
  'Your camera and microphone cannot be opened; another program may be using it.': 'Kamera und Mikrofon lassen sich nicht öffnen; vielleicht benutzt ein anderes Programm sie.',
  'No camera was found.': 'Keine Kamera gefunden.',
  'No microphone was found.': 'Kein Mikrofon gefunden.',
  'No camera or microphone was found.': 'Weder Kamera noch Mikrofon gefunden.',
};

/**
 * @module
 * The icons of all pages. They are put into the page, for a file of their own would be asked for again and again, also while the
 * server cannot be reached.
 */

document.body.insertAdjacentHTML(
  'afterbegin',
  `<svg class="sprite" aria-hidden="true">
    <symbol id="icon-mic" viewBox="0 0 24 24"><path d="M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-mic-off" viewBox="0 0 24 24"><path d="M15 9.5V6a3 3 0 0 0-5.8-1M9 9v3a3 3 0 0 0 4.6 2.5M5.5 11.5A6.5 6.5 0 0 0 16.5 16M18.4 12.6q.1-.5.1-1.1M12 18v3M4 3l16 18" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-camera" viewBox="0 0 24 24"><path d="M3 8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2ZM15 11l6-3.5v9L15 13" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-camera-off" viewBox="0 0 24 24"><path d="M10 6h3a2 2 0 0 1 2 2v3l6-3.5v9M14.5 17.3A2 2 0 0 1 13 18H5a2 2 0 0 1-2-2V8a2 2 0 0 1 1.5-1.9M4 3l16 18" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-screen" viewBox="0 0 24 24"><path d="M3 6a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2ZM8 20h8M12 13V7.5m-2.5 2.5L12 7.5l2.5 2.5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-stats" viewBox="0 0 24 24"><path d="M4 20V10m5.3 10V4m5.4 16v-7M20 20V8" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></symbol>
    <symbol id="icon-link" viewBox="0 0 24 24"><path d="M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></symbol>
    <symbol id="icon-settings" viewBox="0 0 24 24"><path d="M4 7h9m4 0h3M4 17h3m4 0h9" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/><circle cx="15" cy="7" r="2" fill="none" stroke="currentColor" stroke-width="2"/><circle cx="9" cy="17" r="2" fill="none" stroke="currentColor" stroke-width="2"/></symbol>
    <symbol id="icon-direct" viewBox="0 0 24 24"><path d="M4 9h15m-4-4 4 4-4 4M20 16H5m4-4-4 4 4 4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-leave" viewBox="0 0 24 24"><path d="M3 14.5c0-5 18-5 18 0l-.4 1.3a1 1 0 0 1-1.2.7l-3-.7a1 1 0 0 1-.8-1l.1-1.6a12 12 0 0 0-7.4 0l.1 1.6a1 1 0 0 1-.8 1l-3 .7a1 1 0 0 1-1.2-.7Z" fill="currentColor"/></symbol>
    <symbol id="icon-lock" viewBox="0 0 24 24"><path d="M8 11V7.5a4 4 0 0 1 8 0V11" fill="none" stroke="currentColor" stroke-width="2"/><rect x="5" y="11" width="14" height="9.5" rx="2" fill="currentColor"/></symbol>
    <symbol id="icon-close" viewBox="0 0 24 24"><path d="m6 6 12 12M18 6 6 18" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></symbol>
    <symbol id="icon-play" viewBox="0 0 24 24"><path d="M7 4.5v15a1 1 0 0 0 1.5.9l12-7.5a1 1 0 0 0 0-1.8l-12-7.5A1 1 0 0 0 7 4.5Z" fill="currentColor"/></symbol>
    <symbol id="icon-pause" viewBox="0 0 24 24"><path d="M7 4h3v16H7ZM14 4h3v16h-3Z" fill="currentColor"/></symbol>
    <symbol id="icon-stop" viewBox="0 0 24 24"><rect x="5" y="5" width="14" height="14" rx="2.5" fill="currentColor"/></symbol>
    <symbol id="icon-sound" viewBox="0 0 24 24"><path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5ZM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-sound-off" viewBox="0 0 24 24"><path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5ZM16 9.5l5 5m0-5-5 5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-fullscreen" viewBox="0 0 24 24"><path d="M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-fullscreen-off" viewBox="0 0 24 24"><path d="M9 4v4a1 1 0 0 1-1 1H4M20 9h-4a1 1 0 0 1-1-1V4M15 20v-4a1 1 0 0 1 1-1h4M4 15h4a1 1 0 0 1 1 1v4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-pip" viewBox="0 0 24 24"><path d="M9 19H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v3" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/><rect x="12" y="13" width="9" height="6.5" rx="1.5" fill="currentColor"/></symbol>
    <symbol id="icon-chat" viewBox="0 0 24 24"><path d="M4 5.5h16a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-8l-4.5 4v-4H4a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"/></symbol>
    <symbol id="icon-people" viewBox="0 0 24 24"><circle cx="9" cy="8" r="3.5" fill="none" stroke="currentColor" stroke-width="2"/><path d="M2.5 20c0-7.5 13-7.5 13 0M16 4.9a3.5 3.5 0 0 1 0 6.2M18 15c2.2.9 3.5 2.5 3.5 5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></symbol>
    <symbol id="icon-hand" viewBox="0 0 24 24"><path d="M7.5 13V6a1.5 1.5 0 0 1 3 0v5-7a1.5 1.5 0 0 1 3 0v7-5.5a1.5 1.5 0 0 1 3 0V14c0 4.5-2.5 7-6 7-3 0-4.5-1.5-6-4l-2-3.5c-.8-1.5 1.2-2.6 2.2-1.4Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-more" viewBox="0 0 24 24"><circle cx="5" cy="12" r="2" fill="currentColor"/><circle cx="12" cy="12" r="2" fill="currentColor"/><circle cx="19" cy="12" r="2" fill="currentColor"/></symbol>
    <symbol id="icon-keys" viewBox="0 0 24 24"><path d="M4 6h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1Z" fill="none" stroke="currentColor" stroke-width="2"/><path d="M7 10h.1M12 10h.1M17 10h.1M8 14h8" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>
    <symbol id="icon-network-good" viewBox="0 0 24 24"><path d="M5 14V19" fill="none" stroke="currentColor" stroke-width="4"/><path d="M12 9.5V19" fill="none" stroke="currentColor" stroke-width="4"/><path d="M19 5V19" fill="none" stroke="currentColor" stroke-width="4"/></symbol>
    <symbol id="icon-network-fair" viewBox="0 0 24 24"><path d="M5 14V19" fill="none" stroke="currentColor" stroke-width="4"/><path d="M12 9.5V19" fill="none" stroke="currentColor" stroke-width="4"/><path d="M19 5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/></symbol>
    <symbol id="icon-network-poor" viewBox="0 0 24 24"><path d="M5 14V19" fill="none" stroke="currentColor" stroke-width="4"/><path d="M12 9.5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M19 5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/></symbol>
    <symbol id="icon-network-unknown" viewBox="0 0 24 24"><path d="M5 14V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M12 9.5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M19 5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/></symbol>
    <symbol id="icon-network-lost" viewBox="0 0 24 24"><path d="M5 14V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M12 9.5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M19 5V19" fill="none" stroke="currentColor" stroke-width="4" opacity="0.3"/><path d="M4 4l16 16" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>
    <symbol id="icon-pin" viewBox="0 0 24 24"><path d="M9 3.5h6l-.6 6.2 3.1 3.3v1.5h-11V13l3.1-3.3ZM12 14.5v6" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
    <symbol id="icon-layout-auto" viewBox="0 0 24 24"><path d="M3.5 5.5h11v13h-11ZM18 5.5h2.5v3.3H18ZM18 15.2h2.5v3.3H18ZM18 10.4h2.5v3.2H18Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"/></symbol>
    <symbol id="icon-layout-grid" viewBox="0 0 24 24"><path d="M4 5.5h6.5v5H4ZM13.5 5.5h6.5v5h-6.5ZM4 13.5h6.5v5H4ZM13.5 13.5h6.5v5h-6.5Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"/></symbol>
    <symbol id="icon-layout-speaker" viewBox="0 0 24 24"><path d="M3.5 5h17v9.5h-17Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"/><path d="M4.5 19h3m3 0h3m3 0h3" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/></symbol>
    <symbol id="icon-eye" viewBox="0 0 24 24"><path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/><circle cx="12" cy="12" r="2.8" fill="none" stroke="currentColor" stroke-width="2"/></symbol>
  </svg>`,
);

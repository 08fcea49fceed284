/**
 * The environment that benches of a boot start both peers in. With NODE_EXTRA_CA_CERTS node parses a file of certificates before the first statement of
 * whatever program it runs: 60 to 90 ms for a distribution's, which say nothing about this one.
 */
export const PEER_ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_EXTRA_CA_CERTS'));

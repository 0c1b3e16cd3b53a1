# Logs that Slips does not read are not written: nobody would delete them.

module SlipsOnlyUsed;

export {
	## Streams that are written.
	option streams: set[string] = {
		"Conn::LOG", "DNS::LOG", "HTTP::LOG", "SSL::LOG", "SSH::LOG", "DHCP::LOG", "FTP::LOG", "SMTP::LOG", "Tunnel::LOG",
		"Notice::LOG", "Files::LOG", "Software::LOG", "Weird::LOG", "QUIC::LOG", "KRB::LOG", "mysql::LOG", "NTLM::LOG",
		"RFB::LOG", "RADIUS::LOG", "LDAP::LDAP_LOG", "DCE_RPC::LOG", "SlipsARP::LOG", "Reporter::LOG",
	};
}

event zeek_init() &priority=-10
	{
	local unused: set[Log::ID] = set();
	for ( id in Log::active_streams )
		{
		if ( cat(id) !in streams )
			add unused[id];
		}
	for ( id in unused )
		Log::disable_stream(id);
	}

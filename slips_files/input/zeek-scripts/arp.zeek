# arp.log: who asks for whom, and who answers. Zeek sees ARP, and has no log of it.

module SlipsARP;

export {
	redef enum Log::ID += { LOG };

	type Info: record {
		ts: time &log;
		operation: string &log;
		## Hardware addresses of the frame.
		src_mac: string &log;
		dst_mac: string &log;
		## What the message says of sender and target.
		orig_h: addr &log;
		orig_hw: string &log;
		resp_h: addr &log;
		resp_hw: string &log;
	};
}

event zeek_init() &priority=5
	{
	Log::create_stream(SlipsARP::LOG, [$columns=Info, $path="arp"]);
	}

event arp_request(mac_src: string, mac_dst: string, SPA: addr, SHA: string, TPA: addr, THA: string)
	{
	Log::write(SlipsARP::LOG, [$ts=network_time(), $operation="request", $src_mac=mac_src, $dst_mac=mac_dst,
	                           $orig_h=SPA, $orig_hw=SHA, $resp_h=TPA, $resp_hw=THA]);
	}

event arp_reply(mac_src: string, mac_dst: string, SPA: addr, SHA: string, TPA: addr, THA: string)
	{
	Log::write(SlipsARP::LOG, [$ts=network_time(), $operation="reply", $src_mac=mac_src, $dst_mac=mac_dst,
	                           $orig_h=SPA, $orig_hw=SHA, $resp_h=TPA, $resp_hw=THA]);
	}

package agent

// Type implements EventData.
func (*LinkReady) Type() string { return "INV" }

// Type implements EventData.
func (*Confirmation) Type() string { return "CONF" }

// Type implements EventData.
func (*Request) Type() string { return "REQ" }

// Type implements EventData.
func (*Joined) Type() string { return "JOINED" }

// Type implements EventData.
func (*PeerInfo) Type() string { return "INFO" }

// Type implements EventData.
func (*Connected) Type() string { return "CON" }

// Type implements EventData.
func (*Message) Type() string { return "MSG" }

// Type implements EventData.
func (*Sent) Type() string { return "SENT" }

// Type implements EventData.
func (*SendFailed) Type() string { return "MERR" }

// Type implements EventData.
func (*SendDelayed) Type() string { return "MWARN" }

// Type implements EventData.
func (*Received) Type() string { return "RCVD" }

// Type implements EventData.
func (*Continued) Type() string { return "QCONT" }

// Type implements EventData.
func (*RelayUp) Type() string { return "UP" }

// Type implements EventData.
func (*RelayDown) Type() string { return "DOWN" }

// Type implements EventData.
func (*Ended) Type() string { return "END" }

// Type implements EventData.
func (*Failed) Type() string { return "ERR" }

// Type implements EventData.
func (*Deleted) Type() string { return "DEL_CONNS" }

// Type implements EventData.
func (*GroupInvitation) Type() string { return "GINV" }

// Type implements EventData.
func (*GroupRequest) Type() string { return "GREQ" }

// Type implements EventData.
func (*MemberConnected) Type() string { return "GCON" }

// Type implements EventData.
func (*Introduced) Type() string { return "GDONE" }

// Type implements EventData.
func (*AllConnected) Type() string { return "GALL" }

// Type implements EventData.
func (*GroupMessage) Type() string { return "GMSG" }

// Type implements EventData.
func (*GroupMessageConfirmed) Type() string { return "GMSGOK" }

// Type implements EventData.
func (*GroupMessageRefuted) Type() string { return "GMSGFALSE" }

// Type implements EventData.
func (*GroupOwnMessage) Type() string { return "GMSGOWN" }

// Type implements EventData.
func (*GroupSent) Type() string { return "GSENT" }

// Type implements EventData.
func (*GroupReceived) Type() string { return "GRCVD" }

// Type implements EventData.
func (*GroupSendFailed) Type() string { return "GMERR" }

// Type implements EventData.
func (*MemberLeft) Type() string { return "GLEFT" }

// Type implements EventData.
func (*MemberRemoved) Type() string { return "GMDELETED" }

// Type implements EventData.
func (*Removed) Type() string { return "GREMOVED" }

// Type implements EventData.
func (*GroupEmpty) Type() string { return "GEMPTY" }

// Type implements EventData.
func (*GroupDeleted) Type() string { return "GDELETED" }

// Type implements EventData.
func (*GroupChanged) Type() string { return "GSTATE" }

// Type implements EventData.
func (*GroupWarning) Type() string { return "GWARN" }

// Type implements EventData.
func (*GroupSynced) Type() string { return "GSYNC" }

// Type implements EventData.
func (*DirectRequest) Type() string { return "GDINV" }

// Type implements EventData.
func (*DirectReady) Type() string { return "GDCON" }

// Type implements EventData.
func (*DirectEnded) Type() string { return "GDEND" }

// Type implements EventData.
func (*ResyncChanged) Type() string { return "RSYNC" }

// Type implements EventData.
func (*SwitchChanged) Type() string { return "SWITCH" }

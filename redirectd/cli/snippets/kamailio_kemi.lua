-- redirectd by KEMI, for app_lua: dofile("/etc/kamailio/redirectd.lua") in your script. Call redirectd_before_relay()
-- right before KSR.tm.t_relay(), redirectd_reply() first in the function of your own t_on_reply() if you have one, and
-- redirectd_ping() first in ksr_reply_route().

local record_key
do  -- the key that proves the records: 'redirectd init' makes the file when root runs it
  local file = io.open("@KEYFILE@", "r")
  if file then
    record_key = file:read("*a"):match('rd_mac%) = "(%x+)"')
    file:close()
  end
end

local function write_record(record)
  KSR.pv.sets("$var(rd_rec)", KSR.pv.gete(record))
  KSR.pv.sets("$var(rd_mac)", "none")
  if record_key then
    KSR.pv.sets("$var(rd_mac)", record_key .. KSR.pv.gete("$var(rd_rec)"))
    KSR.pv.sets("$var(rd_mac)", KSR.pv.gete("$(var(rd_mac){s.sha512}{s.substr,0,40})"))
  end
  KSR.xlog.xnotice("REDIRECTD $var(rd_rec) mac=$var(rd_mac) end=1\n")
end

-- Armed by redirectd_before_relay(): one record for each 301, 183, 404, 410 and 604.
function redirectd_reply()
  local status = KSR.pv.get("$rs")
  if status ~= 301 and status ~= 183 and status ~= 404 and status ~= 410 and status ~= 604 then return 1 end
  KSR.pv.sets("$var(sdp)", "")
  if KSR.textops.has_body_type("application/sdp") > 0 then
    KSR.pv.sets("$var(sdp)", KSR.pv.gete("$(rb{s.substr,0,400}{s.urlencode.param})"))
  end
  write_record("$_s(v=2 ev=$rs ts=$TV(Sn) m=$(rm{s.urlencode.param}) ci=$(ci{s.substr,0,256}{s.urlencode.param}) cseq=$(cs{s.urlencode.param}) br=$T_branch_idx src=$pr/$si/$sp ouri=$(T_req($ou){s.substr,0,512}{s.urlencode.param}) buri=$(T_branch(uri){s.substr,0,512}{s.urlencode.param}) nct=$hdrc(Contact) ctlen=$(hdr(Contact)[*]{s.len}) ct=$(hdr(Contact)[*]{s.substr,0,1200}{s.urlencode.param}) tt=$(T_req($tt){s.urlencode.param}) ex=$(hdr(Expires){s.substr,0,32}{s.urlencode.param}) rsn=$(hdr(Reason){s.substr,0,64}{s.urlencode.param}) rq=$(hdr(Require){s.substr,0,64}{s.urlencode.param}) rt=$avp(redirectd_at) sdp=$var(sdp))")
  return 1
end

-- The answers to Kamailio's own pings, which no onreply_route sees: how a gateway move is noticed.
function redirectd_ping()
  if KSR.pv.get("$rm") ~= "OPTIONS" or KSR.pv.get("$rs") ~= 301 then return 1 end
  if KSR.tm.t_check_trans() > 0 and KSR.pv.get("$(T_req($ci))") == nil then
    write_record("$_s(v=2 ev=$rs ts=$TV(Sn) m=$(rm{s.urlencode.param}) ci=$(ci{s.substr,0,256}{s.urlencode.param}) cseq=$(cs{s.urlencode.param}) br=0 src=$pr/$si/$sp ouri= buri=$(tu{s.substr,0,512}{s.urlencode.param}) nct=$hdrc(Contact) ctlen=$(hdr(Contact)[*]{s.len}) ct=$(hdr(Contact)[*]{s.substr,0,1200}{s.urlencode.param}))")
  end
  return 1
end

-- The key of a SIP URI: scheme:user@host:port;transport, what is absent left empty; nil where there is none.
local unreserved = "^[%w%-_.!~*'()]$"
local function redirectd_key(uri)
  local scheme, rest = uri:match("^([Ss][Ii][Pp][Ss]?):(.*)$")
  if not scheme then return nil end
  local userinfo, addr = rest:match("^([^@]*)@(.*)$")
  local user = ""
  if userinfo then user = userinfo:match("^[^:]*") else addr = rest end
  local host, tail = addr:match("^(%[[^%]]*%])(.*)$")
  if not host then host, tail = addr:match("^([^:;?]*)(.*)$") end
  local port = tail:match("^:(%d+)") or ""
  local params = (tail:gsub("%?.*$", "")):match(";.*$") or ""
  local transport = ""
  for name, value in params:gmatch(";([^;=]*)=?([^;]*)") do
    if name:find("%%") then return nil end
    if name:lower() == "transport" then
      if transport ~= "" or value == "" or value:find("%%") then return nil end
      transport = value:lower()
    end
  end
  if user:gsub("%%%x%x", ""):find("%%") then return nil end
  user = user:gsub("%%(%x%x)", function(h)
    local c = string.char(tonumber(h, 16))
    if c:match(unreserved) then return c end
    return "%" .. h:upper()
  end)
  return scheme:lower() .. ":" .. user .. "@" .. host:lower():gsub("%.$", "") .. ":" .. port .. ";" .. transport
end

-- The Request-URI within a dialog is a remote target, and is left alone.
function redirectd_before_relay()
  if KSR.siputils.has_totag() > 0 then return 1 end
  if KSR.tm.t_is_set("onreply_route") < 0 then KSR.tm.t_on_reply("redirectd_reply") end
  KSR.pv.sets("$avp(redirectd_at)", KSR.pv.gete("$TV(Sn)"))
@LOOKUPS@  return 1
end

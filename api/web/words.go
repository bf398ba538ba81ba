package web

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/text/language"
)

// The languages of the page. The browser's modules have their own words, in
// static/app/lang.
const (
	english = "en"
	chinese = "zh"
)

// words are what the server itself says on a page, by language.
func words() map[string]map[string]string {
	return map[string]map[string]string{
		english: {
			"other.lang": chinese, "other.name": "中文",
			"nav": "Pages", "nav.projects": "Projects", "nav.tags": "Tags", "nav.buckets": "Buckets", "nav.keys": "Keys",
			"skip": "Skip to the content", "sign-in": "Sign in", "sign-out": "Sign out",
			"sign-in.key": "Your key", "sign-in.hint": "The server printed a key at its first start.", "sign-in.hint.end": " makes another.",
			"sign-in.wrong":  "The key is unknown, revoked or expired; ask the operator for a new one.",
			"sign-in.used":   "This sign-in link was used or is over; restart the server for a new one, or sign in with a key.",
			"sign-in.again":  "You tried too often; try again in %d s.",
			"noscript":       "This page needs JavaScript. Allow it in the browser's settings and load the page again. Everything here can also be done by the API and the command line.",
			"stale.title":    "The page did not load whole",
			"stale.text":     "The server may have been started anew at this moment, or the connection is slow.",
			"stale.reload":   "Load it again",
			"intro.title":    "Photos into cloud storage, at the speed of your own line.",
			"intro.text":     "Ask whether a photo is there, get the right to send it straight to the nearest bucket, and know that it arrived whole.",
			"intro.api":      "Read the API",
			"intro.tags":     "See the public tags",
			"problem.home":   "To the first page",
			"sign-in.plain":  "You came by plain http, over which the browser keeps no sign-in here. Use the public address:",
			"title.home":     "Projects",
			"title.project":  "Project",
			"title.tags":     "Tags",
			"title.tag":      "Tag",
			"title.buckets":  "Buckets",
			"title.keys":     "Keys",
			"title.audit":    "Audit",
			"title.absent":   "This is not here",
			"title.failed":   "This did not work",
			"absent.project": "There is no such project, or it is another's.",
			"absent.page":    "There is no such page.",
			"failed":         "The server could not answer. Try again in a moment.",
		},
		chinese: {
			"other.lang": english, "other.name": "English",
			"nav": "页面", "nav.projects": "项目", "nav.tags": "标签", "nav.buckets": "存储桶", "nav.keys": "密钥",
			"skip": "跳到正文", "sign-in": "登录", "sign-out": "退出登录",
			"sign-in.key": "您的密钥", "sign-in.hint": "服务器在首次启动时打印了一个密钥。用", "sign-in.hint.end": " 可以再创建一个。",
			"sign-in.wrong":  "密钥不存在、已吊销或已过期；请向管理员索取新的密钥。",
			"sign-in.used":   "此登录链接已被使用或已失效；请重启服务器以获得新的链接，或用密钥登录。",
			"sign-in.again":  "尝试次数过多；请在 %d 秒后再试。",
			"noscript":       "此页面需要 JavaScript。请在浏览器设置中允许它，然后重新加载页面。这里的一切也可以通过 API 和命令行完成。",
			"stale.title":    "页面未能完整加载",
			"stale.text":     "服务器可能刚刚重新启动，或者网络连接较慢。",
			"stale.reload":   "重新加载",
			"intro.title":    "照片直达云存储，速度由您的线路决定。",
			"intro.text":     "查询照片是否已在云端，获得直接写入最近存储桶的许可，并确认它完整到达。",
			"intro.api":      "阅读 API 文档",
			"intro.tags":     "查看公开标签",
			"problem.home":   "回到首页",
			"sign-in.plain":  "您是通过未加密的 http 访问的，浏览器在此不会保存登录。请使用公开地址：",
			"title.home":     "项目",
			"title.project":  "项目",
			"title.tags":     "标签",
			"title.tag":      "标签",
			"title.buckets":  "存储桶",
			"title.keys":     "密钥",
			"title.audit":    "审计",
			"title.absent":   "这里没有此内容",
			"title.failed":   "操作未成功",
			"absent.project": "没有这个项目，或者它属于他人。",
			"absent.page":    "没有这个页面。",
			"failed":         "服务器未能回答，请稍后再试。",
		},
	}
}

// langCookie keeps the language that somebody chose.
const langCookie = "lang"

// lang is the language of a visitor: the one that he chose, else his browser's.
func (f *face) lang(c echo.Context) string {
	if cookie, err := c.Cookie(langCookie); err == nil {
		if _, ok := f.words[cookie.Value]; ok {
			return cookie.Value
		}
	}
	tags, _, err := language.ParseAcceptLanguage(c.Request().Header.Get("Accept-Language"))
	if err != nil {
		return english
	}
	for _, tag := range tags { // by their weights
		switch base, _ := tag.Base(); base.String() {
		case english:
			return english
		case chinese:
			return chinese
		}
	}
	return english
}

// t is the text of a key in a visitor's language.
func (f *face) t(c echo.Context, key string) string { return f.words[f.lang(c)][key] }

// chooseLanguage keeps a language and goes back to where it was chosen.
func (f *face) chooseLanguage(c echo.Context) error {
	form := c.Request().PostForm
	chosen := form.Get("lang")
	if _, ok := f.words[chosen]; ok {
		const year = 365 * 24 * 60 * 60
		c.SetCookie(&http.Cookie{
			Name: langCookie, Value: chosen, Path: "/", MaxAge: year, HttpOnly: true, Secure: secure(c) && !fromPlain(c.Request()),
			SameSite: http.SameSiteLaxMode,
		})
	}
	next := ownPath(form.Get("next"))
	if next == "" {
		next = "/"
	}
	return c.Redirect(http.StatusSeeOther, next)
}
